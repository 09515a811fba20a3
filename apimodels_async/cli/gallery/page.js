"use strict";
// In the head, before the first picture: one that fails early must be heard as well.
document.documentElement.classList.add("js");

document.addEventListener("error", ({ target }) => {
  if (!target.matches?.(".shot img")) return;
  const label = document.createElement("b"), reason = document.createElement("span");
  label.textContent = "No file";
  reason.className = "reason";
  reason.textContent = "It is not where it was saved.";
  target.replaceWith(label, reason);
}, true);

document.addEventListener("DOMContentLoaded", () => {
  const at = (id) => document.getElementById(id);
  const cards = [...document.querySelectorAll(".card")];
  const chips = [...document.querySelectorAll(".chips button")];
  const find = at("find"), view = at("view"), picture = at("view-picture");
  const REFRESH_MS = 10000, SAID_MS = 1600;
  let shown = cards, state = "", open = null;

  // Text goes in by textContent only: prompts are whatever somebody sent.
  function element(tag, cls, text) {
    const made = document.createElement(tag);
    if (cls) made.className = cls;
    made.textContent = text;
    return made;
  }
  const part = (card, cls) => card.querySelector(cls)?.textContent ?? "";
  const stateOf = (card) => card.classList[1];

  // --- filter: kept behind the # so that it can be sent and survives a reload

  const searched = [".prompt", ".model", ".seed", ".id", ".reason"];
  const texts = cards.map((card) => searched.map((cls) => part(card, cls)).join(" ").toLowerCase());

  function filter() {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    const counts = { "": 0 };
    shown = cards.filter((card, index) => {
      const found = words.every((word) => texts[index].includes(word));
      if (found) {
        counts[""] += 1;
        counts[stateOf(card)] = (counts[stateOf(card)] ?? 0) + 1;
      }
      card.hidden = !(found && (!state || stateOf(card) === state));
      return !card.hidden;
    });
    for (const chip of chips) {
      chip.ariaPressed = String(chip.dataset.state === state);
      chip.querySelector("span").textContent = counts[chip.dataset.state] ?? 0;
      // On a narrow screen the row of chips scrolls.
      if (chip.dataset.state === state) chip.parentElement.scrollLeft = chip.offsetLeft - chip.offsetWidth;
    }
    at("count").textContent = `${shown.length} of ${cards.length}`;
    at("nothing").hidden = shown.length > 0 || cards.length === 0;
  }

  function keep() {
    const kept = new URLSearchParams();
    if (find.value) kept.set("q", find.value);
    if (state) kept.set("state", state);
    history.replaceState(null, "", kept.size ? `#${kept}` : location.href.split("#")[0]);
    filter();
  }

  function recall() {
    const kept = new URLSearchParams(location.hash.slice(1));
    find.value = kept.get("q") ?? "";
    const wanted = kept.get("state") ?? "";
    state = chips.some((chip) => chip.dataset.state === wanted) ? wanted : "";
    filter();
  }

  find.addEventListener("input", keep);
  at("tools").addEventListener("submit", (event) => event.preventDefault());
  at("tools").addEventListener("click", (event) => {
    const chip = event.target.closest(".chips button");
    if (!chip) return;
    state = chip.dataset.state;
    keep();
  });
  at("reset").addEventListener("click", () => {
    find.value = state = "";
    keep();
    find.focus();
  });
  addEventListener("hashchange", recall);

  // --- larger view: the cards that are shown, one after another

  function show(card) {
    open = card;
    const place = shown.indexOf(card), shot = card.querySelector(".shot");
    const seen = card.querySelector(".shot img") !== null;
    picture.hidden = at("view-open").hidden = !seen;
    at("view-reason").hidden = seen;
    if (seen) {
      picture.src = at("view-link").href = shot.href;
      picture.alt = part(card, ".prompt");
    } else {
      picture.removeAttribute("src");
      at("view-reason").className = `told-reason ${stateOf(card)}`;
      at("view-reason").replaceChildren(...[...shot.children].map((child) => child.cloneNode(true)));
    }
    at("place").textContent = `${place + 1} of ${shown.length}`;
    at("view-prompt").textContent = part(card, ".prompt");
    const facts = [
      ["Number", card.dataset.number],
      ["State", stateOf(card)],
      ["Model", part(card, ".model span")],
      ["Time", part(card, ".time")],
      ["Cost", part(card, ".cost")],
      ["Seed", card.dataset.params ? "" : part(card, ".seed").replace("seed ", "")],
      ["Pixels", seen ? "\u2026" : ""],
      ["Parameters", card.dataset.params],
      ["Task", part(card, ".id")],
      ["Command", commandOf(card)],
    ];
    at("view-facts").replaceChildren(...facts.filter(([, value]) => value).map(([name, value]) => {
      const row = element("div", "", ""), copied = name === "Task" || name === "Command";
      const told = element("dd", `fact-${name.toLowerCase()}`, copied ? "" : value);
      if (copied) {
        const text = element("button", "id", value);
        text.type = "button";
        text.title = "Copy";
        told.append(text);
      }
      row.append(element("dt", "", name), told);
      return row;
    }));
    tellPixels();
    at("back").disabled = place === 0;
    at("next").disabled = place === shown.length - 1;
    if (!view.open) view.showModal();
    for (const near of [shown[place - 1], shown[place + 1]]) {
      const link = near?.querySelector(".shot:has(img)")?.href;
      if (link) new Image().src = link; // ready when it is turned to
    }
  }

  // As it is in the file, not as it is shown; known once it has come.
  function tellPixels() {
    const told = view.querySelector(".fact-pixels");
    if (told && picture.naturalWidth) told.textContent = `${picture.naturalWidth} \u00d7 ${picture.naturalHeight}`;
  }
  picture.addEventListener("load", tellPixels);

  function commandOf(card) {
    const { call, options } = card.dataset, text = part(card, ".prompt");
    const prompt = text.startsWith("@") ? `@${text}` : text;  // one would name a file
    const quoted = /^[\w@%+=:,./-]+$/.test(prompt) ? prompt : `'${prompt.replaceAll("'", `'"'"'`)}'`;
    return call ? `${call} ${quoted} ${options}`.trim() : "";
  }

  function step(by) {
    const next = shown[shown.indexOf(open) + by];
    if (next) show(next);
  }

  at("grid").addEventListener("click", (event) => {
    const shot = event.target.closest(".shot");
    if (!shot || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    show(shot.closest(".card"));
  });
  at("back").addEventListener("click", () => step(-1));
  at("next").addEventListener("click", () => step(1));
  at("close").addEventListener("click", () => view.close());
  at("stage").addEventListener("click", (event) => {
    if (event.target === at("stage")) view.close();
  });
  view.addEventListener("close", () => {
    open.querySelector(".shot").focus({ preventScroll: true });
    open.scrollIntoView({ block: "nearest" });
    picture.removeAttribute("src");
  });

  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (view.open) {
      const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (by) event.preventDefault(), step(by);
    } else if (event.key === "/" && document.activeElement !== find) {
      event.preventDefault();
      find.select();
    } else if (event.key === "Escape" && document.activeElement === find) {
      event.preventDefault();
      find.value = "";
      keep();
      find.blur();
    }
  });

  // --- task ids and commands are copied; a page from a file may not use the clipboard everywhere

  let silence = 0;
  function say(text) {
    const said = at("said");
    (view.open ? view : document.body).append(said); // above the dialog
    said.textContent = text;
    clearTimeout(silence);
    silence = setTimeout(() => { said.textContent = ""; }, SAID_MS);
  }

  addEventListener("click", async (event) => {
    const id = event.target.closest(".id");
    if (!id) return;
    try {
      await navigator.clipboard.writeText(id.textContent);
      say(id.closest(".fact-command") ? "Command copied" : "Task id copied");
    } catch {
      getSelection().selectAllChildren(id);
      say("Selected: copy it with your keyboard");
    }
  });

  // --- while something is pending the page is written anew from time to time

  const idle = () => document.visibilityState === "visible" && !view.open
    && document.activeElement !== find && getSelection().isCollapsed;
  if (cards.some((card) => stateOf(card) === "pending")) {
    setInterval(() => {
      if (!idle()) return;
      // The place on the page comes back by itself, the focus does not.
      history.replaceState({ focus: document.activeElement.closest(".card")?.dataset.number }, "");
      location.reload();
    }, REFRESH_MS);
  }

  recall();
  const last = history.state?.focus;
  if (last) document.querySelector(`[data-number="${last}"] .shot`)?.focus({ preventScroll: true });
});

"use strict";
// Cards come drawn and escaped from the server; here they are put in their places.

const at = (id) => document.getElementById(id);
const grid = at("grid"), form = at("order"), prompts = at("prompts"), view = at("view");
const TOLD_MS = 2500, TICK_MS = 1000, RETRY_MS = 2000;

// --- cards: one arrives, is put in order (newest first), and everything is counted

function place(markup) {
  const mold = document.createElement("template");
  mold.innerHTML = markup; // scripts in it would not run, and there are none
  const card = mold.content.firstElementChild, old = at(card.id);
  const number = Number(card.dataset.id);
  if (old) {
    const focused = old.contains(document.activeElement);
    const was = old.classList[1];
    old.replaceWith(card);
    if (focused) (card.querySelector(".act, a.shot") ?? card).focus({ preventScroll: true });
    if (was !== card.classList[1]) announce(card);
    if (open === old) open = card;
  } else {
    const cards = [...grid.children], before = Number(document.body.dataset.before ?? Infinity);
    if (number >= before) return; // it belongs to a newer page
    const next = cards.find((each) => Number(each.dataset.id) < number);
    if (!next && cards.length && document.querySelector(".pages")) return; // to an older one
    grid.insertBefore(card, next ?? null);
  }
  count();
}

function count() {
  const open = [...grid.querySelectorAll("[data-open]")];
  const batches = new Set(open.map((card) => card.dataset.batch));
  const all = [...grid.children].filter((card) => batches.has(card.dataset.batch));
  const done = all.length - open.length;
  at("bar").hidden = open.length === 0;
  at("progress").max = all.length || 1;
  at("progress").value = done;
  at("count").textContent = `${done} of ${all.length}`;
  at("nothing").hidden = grid.children.length > 0;
  document.title = open.length ? `(${done}/${all.length}) Gallery` : "Gallery";
  tick();
}

function tick() {
  for (const time of grid.querySelectorAll(".since")) {
    const seconds = Math.max(0, Math.round((Date.now() - Date.parse(time.dateTime)) / 1000));
    time.textContent = seconds < 100 ? `${seconds} s` : `${Math.round(seconds / 60)} min`;
  }
}
setInterval(tick, TICK_MS);

// What ended is told to screen readers together, not one by one.
let ended = [], telling = 0;
function announce(card) {
  if ("open" in card.dataset) return;
  ended.push(card.querySelector(".label")?.textContent ?? "Done");
  telling ||= setTimeout(() => {
    const sums = Map.groupBy(ended, (word) => word);
    at("told").textContent = [...sums].map(([word, all]) => `${all.length} ${word}`).join(", ");
    ended = [], telling = 0;
  }, TOLD_MS);
}

// --- the stream: the browser comes back by itself, we do where it gives up

let seen = document.body.dataset.version, stream = null;
function listen() {
  stream = new EventSource(`/events?since=${seen}`);
  stream.addEventListener("open", () => { at("link").hidden = true; });
  stream.addEventListener("card", (event) => {
    seen = event.lastEventId;
    place(event.data);
  });
  stream.addEventListener("spent", (event) => { at("spent").textContent = event.data; });
  stream.addEventListener("reload", () => location.reload());
  stream.addEventListener("error", () => {
    at("link").textContent = "No connection to the server; trying again. Orders that were accepted go on.";
    at("link").hidden = false;
    if (stream.readyState !== EventSource.CLOSED) return;
    setTimeout(listen, RETRY_MS); // a proxy's 502: the browser would not try again
  });
}
addEventListener("pagehide", () => stream.close());
addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });

// --- orders and buttons: sent without leaving the page

async function send(action, body) {
  try {
    return await fetch(action, { method: "POST", body, headers: { Accept: "application/json" } });
  } catch {
    return null;
  }
}

function lines() {
  return prompts.value.split("\n").filter((line) => line.trim()).length;
}

// How many, and about what they cost: before anything is ordered.
function amount() {
  const many = lines(), { most, open } = at("model").selectedOptions[0].dataset;
  const dollars = `$${(Math.max(many, 1) * most / 1e6).toFixed(3)}${open === undefined ? "" : " at most"}`;
  const told = many ? `${many} ${many === 1 ? "picture" : "pictures"}, about ${dollars}` : `about ${dollars} a picture`;
  if (at("amount").value !== told) at("amount").value = told; // it is read out
}

// A draft survives a reload; it is this tab's own.
const kept = ["prompts", "model", "aspect_ratio"];
for (const name of kept) {
  const value = sessionStorage.getItem(name), field = at(name);
  if (value !== null && !field.value.includes("\n")) field.value = value;
  if (!field.value) field.selectedIndex = 0; // a model that is no longer offered
  field.addEventListener("input", () => sessionStorage.setItem(name, field.value));
}
for (const field of [prompts, at("model")]) field.addEventListener("input", amount);

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (at("go").ariaDisabled === "true") return; // pressed twice is ordered once
  at("go").ariaDisabled = "true";
  at("error").textContent = "";
  const answer = await send(form.action, new FormData(form));
  at("go").ariaDisabled = "false";
  const json = answer?.headers.get("Content-Type")?.includes("json");
  const told = json ? await answer.json() : {};
  if (told.token) at("token").value = told.token; // without an answer the old one stays: what was taken is not ordered again
  if (answer?.ok) {
    prompts.value = "";
    sessionStorage.removeItem("prompts");
    amount();
  } else {
    at("error").textContent = told.error ?? told.detail
      ?? (answer ? `The server said ${answer.status}.` : "No answer. Draw again: what was taken is not ordered twice.");
  }
  prompts.focus();
});
prompts.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
  event.preventDefault();
  form.requestSubmit();
});

grid.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = event.target.querySelector("button");
  button.ariaDisabled = "true";
  const answer = await send(event.target.action);
  if (!answer?.ok) button.ariaDisabled = "false"; // 409: its card is on the way here
});

// --- larger view

let open = null;
const shown = () => [...grid.querySelectorAll(".card:has(img)")];
const part = (card, cls) => card.querySelector(cls)?.textContent ?? "";

function show(card) {
  open = card;
  const all = shown(), number = all.indexOf(card), link = card.querySelector("a.shot");
  at("view-picture").src = at("view-link").href = link.href;
  at("view-picture").alt = at("view-prompt").textContent = part(card, ".prompt");
  at("place").textContent = `${number + 1} of ${all.length}`;
  const facts = { Model: ".model", Time: ".time", Cost: ".cost", Task: ".id" };
  at("view-facts").replaceChildren(...Object.entries(facts).map(([name, cls]) => {
    const row = document.createElement("div");
    for (const [tag, text] of [["dt", name], ["dd", part(card, cls)]]) {
      row.append(document.createElement(tag));
      row.lastChild.textContent = text;
    }
    row.hidden = !row.lastChild.textContent;
    return row;
  }));
  at("back").disabled = number === 0;
  at("next").disabled = number === all.length - 1;
  if (!view.open) view.showModal();
}

function step(by) {
  const all = shown(), next = all[all.indexOf(open) + by];
  if (next) show(next);
}

grid.addEventListener("click", (event) => {
  const shot = event.target.closest("a.shot");
  if (!shot || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  show(shot.closest(".card"));
});
at("back").addEventListener("click", () => step(-1));
at("next").addEventListener("click", () => step(1));
at("close").addEventListener("click", () => view.close());
at("stage").addEventListener("click", (event) => { if (event.target === at("stage")) view.close(); });
view.addEventListener("keydown", (event) => {
  const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (by) event.preventDefault(), step(by);
});
view.addEventListener("close", () => {
  open.querySelector("a.shot")?.focus({ preventScroll: true });
  open.scrollIntoView({ block: "nearest" });
  open = null;
});

amount();
count();
listen();

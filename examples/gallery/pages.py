"""The pages and what can be done on them. Works without JavaScript; better with it."""

import uuid
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Header, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from fastapi.templating import Jinja2Templates
from sse_starlette import EventSourceResponse
from starlette.types import Scope

from apimodels_async import InvalidRequestError
from gallery import feed
from gallery.cards import MICRO, OPEN, Card
from gallery.guard import same_origin
from gallery.orders import OrderError, offers, priced, read_prompts
from gallery.settings import PROMPTS_MAX, RATIOS, Settings, first_choice
from gallery.store import Store, UsedTokenError
from gallery.studio import Studio

PAGE_CARDS = 120
SUFFIXES = {".png", ".jpg", ".webp", ".gif", ".avif"}
HERE = Path(__file__).parent
router = APIRouter()
changing = [Depends(same_origin)]
templates = Jinja2Templates(HERE / "templates")
templates.env.trim_blocks = True
templates.env.filters["dollars"] = lambda amount: f"${amount / MICRO:.3f}"


def get_store(request: Request) -> Store:
    """Return the store of this process; the lifespan made it."""
    store: Store = request.state.store
    return store


def get_studio(request: Request) -> Studio:
    """Return the studio of this process."""
    studio: Studio = request.state.studio
    return studio


def get_settings(request: Request) -> Settings:
    """Return the settings of this process."""
    settings: Settings = request.app.state.settings
    return settings


async def get_card(card_id: int, store: Annotated[Store, Depends(get_store)]) -> Card:
    """Return the card named in the path, or answer 404."""
    card = store.card(card_id)
    if card is None:
        raise HTTPException(404, "There is no such card.")
    return card


def by_script(accept: Annotated[str, Header()] = "") -> bool:
    """Return whether the page's script asks, rather than a form."""
    return "application/json" in accept


StoreIn = Annotated[Store, Depends(get_store)]
StudioIn = Annotated[Studio, Depends(get_studio)]
ByScript = Annotated[bool, Depends(by_script)]


def new_token() -> str:
    """Return a name for the order of one form."""
    return uuid.uuid4().hex


class Pictures(StaticFiles):
    """
    Serves finished pictures, and nothing else of the folder; a browser may keep them.
    """

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Return the picture at *path*."""
        if Path(path).suffix not in SUFFIXES:
            raise HTTPException(404)
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "private, max-age=604800, immutable"
        return response


def draw_card(card: Card) -> str:
    """Return a card's markup, everything foreign in it escaped."""
    return templates.get_template("card.html").render(card=card)


@router.get("/")
async def show_page(
    request: Request, store: StoreIn, before: int | None = None
) -> Response:
    """Show the form and the newest cards, or those older than card *before*."""
    return _page(request, store, before=before)


async def refuse_input(request: Request, error: Exception) -> Response:
    """Say what of the address or the form cannot be read, in the page's own words."""
    if not isinstance(error, RequestValidationError):
        raise error
    first = error.errors()[0]
    told = f"{first['loc'][-1]}: {first['msg']}."
    if by_script(request.headers.get("accept", "")):
        return JSONResponse({"error": told}, 422)
    return _page(request, get_store(request), error=told)


def _page(
    request: Request,
    store: Store,
    *,
    before: int | None = None,
    error: str = "",
    text: str = "",
) -> Response:
    settings = get_settings(request)
    version = store.version()  # first: what changes meanwhile is sent again
    cards = store.page(before, PAGE_CARDS + 1)
    context = {
        "cards": cards[:PAGE_CARDS],
        "older": cards[PAGE_CARDS - 1].id if len(cards) > PAGE_CARDS else None,
        "before": before,
        "version": version,
        "spent": store.committed() / MICRO,
        "budget": settings.budget,
        "models": offers(),
        "model": first_choice(),
        "ratios": RATIOS,
        "error": error,
        "token": new_token(),
        "text": text,
        "prompts_max": PROMPTS_MAX,
    }
    headers = {"Cache-Control": "no-store"}
    status = 422 if error else 200
    return templates.TemplateResponse(
        request, "index.html", context, status_code=status, headers=headers
    )


@router.post("/orders", dependencies=changing)
async def order(
    request: Request,
    store: StoreIn,
    studio: StudioIn,
    scripted: ByScript,
    model: Annotated[str, Form()],
    aspect_ratio: Annotated[str, Form()],
    prompts: Annotated[str, Form()] = "",
    token: Annotated[str, Form(max_length=64)] = "",
) -> Response:
    """
    Order one picture for each line; all are checked before any is taken.

    A form names its order by its token: sent twice, it orders nothing more.
    """
    try:
        counts = store.counts()
        lines = read_prompts(prompts, sum(counts[stage] for stage in OPEN))
        orders = [(line, priced(line, model, aspect_ratio)) for line in lines]
        cards, new = store.add(token or new_token(), orders, model, aspect_ratio)
    except (OrderError, InvalidRequestError, UsedTokenError) as error:
        if scripted:
            return JSONResponse({"error": str(error), "token": new_token()}, 422)
        return _page(request, store, error=str(error), text=prompts)
    for card in cards if new else ():
        studio.order(card)
    if scripted:
        told = {"cards": [card.id for card in cards], "token": new_token()}
        return JSONResponse(told, 201 if new else 200)
    return RedirectResponse("/", 303)


@router.post("/cards/{card_id}/stop", dependencies=changing)
async def stop(
    card: Annotated[Card, Depends(get_card)], studio: StudioIn, scripted: ByScript
) -> Response:
    """Stop waiting for a card; a task that was accepted goes on."""
    return _done(scripted=scripted, done=card.stoppable and await studio.stop(card))


@router.post("/cards/{card_id}/again", dependencies=changing)
async def again(
    card: Annotated[Card, Depends(get_card)], studio: StudioIn, scripted: ByScript
) -> Response:
    """Pick a card up again, or order again what was not charged."""
    return _done(scripted=scripted, done=studio.again(card))


def _done(*, scripted: bool, done: bool) -> Response:
    if not scripted:
        return RedirectResponse("/", 303)  # the page shows how things are
    return Response(status_code=204 if done else 409)


@router.get("/events")
async def watch(
    request: Request,
    store: StoreIn,
    since: int = 0,
    last_event_id: Annotated[int | None, Header()] = None,
) -> EventSourceResponse:
    """Stream every change after *since*, or after what a returning browser has seen."""
    seen = since if last_event_id is None else last_event_id
    return feed.stream(request.state.feed, store, seen, draw_card)

"""``python examples/gallery [--emulator]``: serve the gallery on this machine."""

import argparse
import asyncio
import contextlib
import os
import sys
from pathlib import Path

import uvicorn

GRACE_S = 170  # an order under way may take 150 s: its answer is worth waiting for
EMULATED_S = (2.0, 9.0)  # service times that are pleasant to watch


def read_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="gallery", description=__doc__)
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument(
        "--emulator",
        action="store_true",
        help="draw with the embedded emulator: no key, no cost",
    )
    return parser.parse_args()


async def serve(port: int) -> None:
    """Serve until a signal; the application is imported here, after the environment."""
    from gallery.app import app

    config = uvicorn.Config(
        app, port=port, timeout_graceful_shutdown=GRACE_S, access_log=False
    )
    await uvicorn.Server(config).serve()


async def serve_emulated(port: int) -> None:
    """As ``serve``, against an emulator that lives and dies with it."""
    from apimodels_async.emulator import Emulator

    async with Emulator(service_times={"*": EMULATED_S}) as emulator:
        os.environ["APIMODELS_BASE_URL"] = emulator.base_url
        os.environ["APIMODELS_API_KEY"] = emulator.api_key
        os.environ.setdefault("GALLERY_DIR", "gallery-demo")
        await serve(port)


def main() -> None:
    """Run."""
    arguments = read_arguments()
    sys.path.insert(0, str(Path(__file__).parent.parent))
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run((serve_emulated if arguments.emulator else serve)(arguments.port))


if __name__ == "__main__":
    main()

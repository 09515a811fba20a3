"""
``apimodels mcp``: the API as tools for agents.
"""

import sys
from decimal import Decimal
from typing import Annotated

from cyclopts import Parameter, validators

from apimodels_async import ConfigurationError
from apimodels_async.cli.mcp_money import Allowance
from apimodels_async.cli.options import Common, Flag
from apimodels_async.cli.output import Output, screen
from apimodels_async.cli.work import at_work, open_session

Budget = Annotated[Decimal, Parameter(validator=validators.Number(gte=0))]


async def mcp(
    *,
    max_cost: Budget = Decimal(1),
    inline: Flag = False,
    base_url: str | None = None,
    poll_interval: Annotated[float | None, Parameter(show_default=False)] = None,
) -> None:
    """
    Serve the Model Context Protocol on stdin and stdout, for an agent.

    Tools: generate, edit, submit (cost money); status, wait, list_models, balance
    (free). Ends when stdin does, or with Ctrl-C; what is then still under way is
    said on stderr.

    Args:
        max_cost: US dollars this server may spend until it ends; 0: nothing. What
            may have been charged counts, and models without a published price are
            refused.

        inline: Send the first picture itself along with the links, up to 1 MB.

        base_url: Address of the API, else APIMODELS_BASE_URL, else the vendor's.

        poll_interval: Seconds between two status requests, 2 to 3; any for an
            emulator on loopback.
    """
    try:
        from apimodels_async.cli.mcp_server import serve
        from apimodels_async.cli.mcp_tools import Toolbox
    except ModuleNotFoundError as error:
        name, _, _ = str(error.name).partition(".")
        msg = f"{name} is not installed; run: pip install 'apimodels-async[mcp]'"
        raise ConfigurationError(msg) from None
    # Nothing but the protocol may come out of stdout.
    output = Output(stdout=screen(sys.stderr))
    session = open_session(Common(base_url=base_url, poll_interval=poll_interval))
    async with at_work(session, output) as work:
        allowance = Allowance(max_cost)
        await serve(Toolbox(session, allowance, work.handles, inline=inline))
    work.tell_left()

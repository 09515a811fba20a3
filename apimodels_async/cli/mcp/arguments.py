"""
The arguments of the tools: their types, and what an agent reads about each.
"""

from typing import Annotated, Any

from pydantic import Field

Prompt = Annotated[str, Field(description="What to draw, or what to change")]
Model = Annotated[str, Field(description="An id from list_models")]
Ratio = Annotated[str | None, Field(description="1:1, 16:9, 9:16, 4:3, 3:4, 3:2, 2:3")]
Resolution = Annotated[
    str | None, Field(description="1K, 2K or 4K where the model takes it; costs more")
]
Seed = Annotated[int | None, Field(description="Same seed, same picture")]
Params = Annotated[
    dict[str, Any] | None,
    Field(description="Further parameters, in the API's own names"),
]
Extra = Annotated[
    dict[str, Any] | None,
    Field(description="As params, but sent as they are: not checked"),
]
Key = Annotated[
    str | None,
    Field(
        description="Your own name for this order, 1-255 characters. The same one with "
        "the same arguments again brings the same picture, free"
    ),
]
Wait = Annotated[
    float,
    Field(ge=0, le=1800, description="Seconds to wait at most; then call wait again"),
]
TaskId = Annotated[str, Field(description="As given by generate, edit or submit")]

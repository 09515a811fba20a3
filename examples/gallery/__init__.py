"""A gallery in the browser: prompts in, pictures arriving live."""

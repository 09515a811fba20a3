"""The HTTP endpoints: routes, authentication, request checks, answer bodies."""

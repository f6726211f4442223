"""The console as the Function App serves it, one for each process of the function serve_console (function_app.py)."""

from __future__ import annotations

import os
from functools import cache

import azure.functions as func
from starlette.applications import Starlette

from ..context import Context
from .app import console
from .entra import EntraAccess

#: Seconds in which an action is waited for before its page is shown. What ends sooner is the same on every instance;
#: what takes longer is told in detail by the one that does it, and by the others when it has ended.
PATIENCE_SECONDS = 20.0


@cache
def adapter() -> func.AsgiMiddleware:
    """The console for a function with an HTTP trigger. Raises ConfigurationError when settings cannot be used."""
    return func.AsgiMiddleware(hosted(Context(os.environ)))  # type: ignore[no-untyped-call]  # left untyped by it


def hosted(context: Context) -> Starlette:
    """The application, with the app's settings and identity. Raises ConfigurationError when settings cannot be used."""
    access = EntraAccess.of(context.environment, context.settings.marketo.client_secret.get_secret_value())
    return console(context, access, patience=PATIENCE_SECONDS)

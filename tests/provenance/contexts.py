"""Fill the cache of rocrate-validator with the JSON-LD contexts that it would fetch.

Run by the Python of .venv/validators: ``python contexts.py CACHE``, for
``rocrate-validator validate --offline --cache-path CACHE``.

The context of RO-Crate comes with the package rocrate, which has that of version 1.3. It differs
from 1.1's, for the terms that a crate uses, in four that Bioschemas renamed.
"""

import json
import sys
from importlib.resources import files
from io import BytesIO

from requests import PreparedRequest, Response
from requests_cache import CachedSession
from urllib3 import HTTPResponse

BIOSCHEMAS = "https://bioschemas.org/"
TERMS = "https://w3id.org/ro/terms/workflow-run#"
ACCEPTED = (
    "application/ld+json, application/json",
    "application/ld+json, application/json, */*;q=0.1",
)


def contexts() -> dict[str, dict]:
    ro_crate = json.loads(files("rocrate").joinpath("data/ro-crate.jsonld").read_text())
    ro_crate["@context"] |= {
        "ComputationalWorkflow": f"{BIOSCHEMAS}ComputationalWorkflow",
        "FormalParameter": f"{BIOSCHEMAS}FormalParameter",
        "input": f"{BIOSCHEMAS}ComputationalWorkflow#input",
        "output": f"{BIOSCHEMAS}ComputationalWorkflow#output",
    }
    run = {name: TERMS + name for name in ("sha256", "ParameterConnection", "resourceUsage")}
    return {
        "https://w3id.org/ro/crate/1.1/context": ro_crate,
        "https://w3id.org/ro/terms/workflow-run/context": {"@context": run},
    }


def answer(request: PreparedRequest, body: bytes) -> Response:
    headers = {"Content-Type": "application/ld+json"}
    response = Response()
    response.status_code, response.url, response.request = 200, request.url, request
    response.headers.update(headers)
    response.raw = HTTPResponse(BytesIO(body), headers, 200, preload_content=False)
    return response


def fill(cache: str) -> None:
    session = CachedSession(cache, backend="sqlite", expire_after=-1)
    for url, context in contexts().items():
        for accept in ACCEPTED:
            request = PreparedRequest()
            request.prepare("GET", url, headers={**session.headers, "Accept": accept})
            session.cache.save_response(answer(request, json.dumps(context).encode()))


if __name__ == "__main__":
    fill(sys.argv[1])

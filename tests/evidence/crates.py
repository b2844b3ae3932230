"""Validates crates, opens them and lists what was done in them, with programs of others and without a network.

Reads a list of {"path", "profile"} from standard input and prints one object for each: which checks were made and which
of them failed, by severity; the types that `rocrate` finds; and the report of `runcrate`.
"""
import io
import json
import sys
from pathlib import Path

import requests
import rocrate
from requests.adapters import HTTPAdapter
from rocrate.rocrate import ROCrate
from rocrate_validator import services
from rocrate_validator.models import Severity, ValidationSettings
from runcrate.report import dump_crate_actions

TERMS = "https://w3id.org/ro/terms/workflow-run#"
NAMES = """ParameterConnection connection sourceParameter targetParameter sha1 sha256 sha512 md5 ContainerImage DockerImage
SIFImage registry tag containerImage resourceUsage environment""".split()
CONTEXTS = {
    # what the library carries is the very document
    "https://w3id.org/ro/crate/1.1/context": (Path(rocrate.__file__).parent / "data/ro-crate.jsonld").read_text(),
    "https://w3id.org/ro/terms/workflow-run/context": json.dumps({"@context": {name: TERMS + name for name in NAMES}}),
}


def send(self, request, **_):
    """Answers what the validator asks the web for; anything else would need a network."""
    text = CONTEXTS.get(request.url)
    if text is None:
        raise requests.ConnectionError(f"{request.url} is not to be asked for")
    response = requests.Response()
    response.status_code, response.url, response.request = 200, request.url, request
    response.headers["Content-Type"] = "application/ld+json"
    response.raw, response._content = io.BytesIO(), text.encode()
    return response


HTTPAdapter.send = send


def look(path, profile):
    settings = ValidationSettings(
        rocrate_uri=path,
        profile_identifier=profile,
        requirement_severity=Severity.RECOMMENDED,
        no_cache=True,
        skip_availability_check=True,
    )
    result = services.validate(settings)
    made = {severity.name: 0 for severity in (Severity.REQUIRED, Severity.RECOMMENDED)}
    for check in result.executed_checks:
        made[check.severity.name] += 1
    failed = {}
    for issue in result.get_issues():
        failed.setdefault(f"{issue.severity.name} {issue.check.identifier}", f"{issue.message} ({issue.violatingEntity})")
    crate, report = ROCrate(path), io.StringIO()
    dump_crate_actions(crate, report)
    types = {}
    for entity in crate.get_entities():
        for kind in [entity.type] if isinstance(entity.type, str) else entity.type:
            types[kind] = types.get(kind, 0) + 1
    return {"made": made, "failed": failed, "types": types, "report": report.getvalue()}


json.dump([look(one["path"], one["profile"]) for one in json.load(sys.stdin)], sys.stdout)

"""The test campaign under an ordinary Python: it answers recorded calls with the recorded answers."""
import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "plugins/sdk/python"), str(ROOT / "tests/guests/loop-python")]

import campaign
from matterstack import Context, Result, checked, checked_folded


def context(recorded, call, kept):
    given = {key: call.get(key) for key in ("decision", "iteration", "now_ms", "asked", "supplied")}
    return Context(recorded["params"], seed=recorded["seed"], open_tasks=call["open"],
                   files={**recorded["inputs"], **kept}, **given)


def result(given):
    more = {key: value for key, value in given.items() if key not in ("task", "files")}
    return Result.of(given["task"], given.get("files"), **more)


def plain(document):
    return json.dumps(document, sort_keys=True)


def main(calls, answers):
    recorded, expected = (json.loads(pathlib.Path(path).read_text()) for path in (calls, answers))
    state, kept = None, {}
    for call, answer in zip(recorded["calls"], expected):
        if "plan" in call:
            ctx = context(recorded, call["plan"], kept)
            said = checked(campaign.plan(ctx, state))
            if "tasks" in said:
                kept = {"notes": ctx.text(said["state"]["notes"])}
            state = said["state"]
        else:
            ctx = context(recorded, call["analyze"], kept)
            folded = checked_folded(campaign.analyze(ctx, state, [result(given) for given in call["results"]]))
            state, said = folded["state"], {"folded": folded}
        # numbers are doubles: 31.0 and 31 are one
        if json.loads(plain(said)) != answer:
            raise SystemExit(f"{call}\nis answered with\n{plain(said)}\nand not with\n{plain(answer)}")
    print(f"{len(expected)} answers are as recorded")


if __name__ == "__main__":
    main(*sys.argv[1:])

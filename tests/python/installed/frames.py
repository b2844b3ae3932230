"""A table is a DataFrame where pandas is installed."""
import json
import pathlib

import matterstack
import pandas
from test_runs import PLACES, SWEEP

place = pathlib.Path("workspaces/sweep")
place.mkdir(parents=True)
(place / "config.json").write_text(json.dumps({"campaign": SWEEP, **PLACES}))
run = matterstack.init("sweep")
run.loop()
frame = run.table(fields=["y.json"])
assert isinstance(frame, pandas.DataFrame), type(frame)
assert frame["y.y"].sum() >= 3 and list(frame["params.x"]) == [1, 2, 3], frame
assert isinstance(matterstack.runs(), pandas.DataFrame)
print("a frame")

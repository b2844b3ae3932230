"""Stands for your own computation: python3 simulate.py TEMPERATURE SOLVENT leaves result.json."""
import json
import sys

temperature, solvent = float(sys.argv[1]), sys.argv[2]
best = {"water": 340, "dmso": 365}[solvent]
loss = ((temperature - best) / 50) ** 2
with open("result.json", "w") as file:
    json.dump({"loss": round(loss, 4)}, file)
print(f"{solvent} at {temperature:g} K: loss {loss:.4f}")

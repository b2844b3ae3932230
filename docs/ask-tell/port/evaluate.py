"""What is measured, before and after: nothing in here knows who calls it."""


def evaluate(parameters):
    if parameters["x"] + parameters["y"] > 1.8:
        raise RuntimeError("the sample broke")
    return {"loss": (parameters["x"] - 0.3) ** 2 + (parameters["y"] - 0.6) ** 2}

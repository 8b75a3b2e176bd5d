"""A dense SavedModel behind FastAPI, as a tutorial shows it: one plain endpoint, one model call a request.

python fastapi_server.py MODEL PORT
"""

import sys

import tensorflow as tf
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel


class Rows(BaseModel):
    """Body of a request."""

    instances: list[list[float]]


app = FastAPI()
model = tf.saved_model.load(sys.argv[1])
signature = model.signatures["serving_default"]


@app.post("/predict")
def predict(rows: Rows) -> dict[str, list[list[float]]]:
    """FastAPI runs a plain `def` in its thread pool."""
    return {"predictions": signature(x=tf.constant(rows.instances, tf.float32))["x"].numpy().tolist()}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")

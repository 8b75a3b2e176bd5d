"""Spelling to pronunciation by g2p_en's network, without its look into the dictionary.

python g2p_en_server.py < WORDS      # JSON with the seconds that words, one a line, took one after another, and their phones
python g2p_en_server.py PORT         # the same behind FastAPI, one word a request
"""

import json
import sys
import time

import nltk

nltk.download = lambda *_, **__: False  # g2p_en asks for files that the network does not need
from g2p_en import G2p, g2p  # noqa: E402


class Network(G2p):
    """The packaged weights and letters. NLTK's dictionary, which the constructor would load as well, is left empty."""

    def __init__(self):
        g2p.cmudict = NoDictionary
        super().__init__()


class NoDictionary:
    @staticmethod
    def dict() -> dict:
        return {}


def serve(port: int) -> None:
    import uvicorn
    from fastapi import FastAPI
    from pydantic import BaseModel

    class Words(BaseModel):
        instances: list[str]

    app, model = FastAPI(), Network()

    @app.post("/predict")
    def predict(words: Words) -> dict[str, list[str]]:
        return {"predictions": [" ".join(model.predict(word)) for word in words.instances]}

    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        serve(int(sys.argv[1]))
    else:
        words, model = sys.stdin.read().split(), Network()
        start = time.perf_counter()
        phones = [" ".join(model.predict(word)) for word in words]
        print(json.dumps({"seconds": time.perf_counter() - start, "phones": phones}))

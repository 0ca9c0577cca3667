"""The page as a ZeroGPU Space runs it, with the true package ``spaces`` and without a graphics card.

Real: the emulated CUDA of the page's process, loading in it, the fork for each question, what is pickled. Stood in for:
the service that lends cards (a local one says yes), and the card (in the fork the model stays on the CPU; nothing is
packed for the way to it).

    python -m checks.zerogpu        # needs `pip install spaces` and a PyTorch built for CUDA, with or without a card
"""

import json
import multiprocessing
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

LENT = {"idle": True, "nvidiaIndex": 0, "nvidiaUUID": "none", "allowToken": "token"}
QUESTION = "What animal is in the picture?"
CAKE = Path(__file__).parents[1] / "assets" / "examples" / "cake.png"


class Lender(BaseHTTPRequestHandler):
    """Says yes to every request for a card, and keeps a list of what it was asked."""

    asked: list[str]

    def do_POST(self) -> None:
        name = self.path.split("?")[0].strip("/")
        self.asked.append(name)
        body = json.dumps(LENT if name == "schedule" else {}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def main() -> None:
    """Start the page, ask through its API, and print what happened.

    Raises:
        SystemExit: if anything is not as it must be.
    """
    Lender.asked = []
    lender = ThreadingHTTPServer(("127.0.0.1", 0), Lender)
    threading.Thread(target=lender.serve_forever, daemon=True).start()
    os.environ |= {
        "SPACES_ZERO_GPU": "true",
        "SPACES_ZERO_DEVICE_API_URL": f"http://127.0.0.1:{lender.server_port}",
        "SPACE_ID": "check/resprune",
    }
    from app import zerogpu

    if not zerogpu.active():
        raise SystemExit("The package spaces is not installed: pip install spaces")
    _without_a_card()
    import runpy

    served = runpy.run_path(str(Path(__file__).parents[1] / "app.py"), run_name="space")
    registry = served["registry"]
    if registry.failure:
        raise SystemExit(registry.failure)
    said = {"device": registry.loaded.device, "parameters": registry.loaded.parameters}
    from app.server import launch

    address = launch(served["demo"], quiet=True)
    from gradio_client import Client, handle_file

    client = Client(address, verbose=False)
    given = {"image": handle_file(str(CAKE)), "question": QUESTION}
    full, pruned, figures = client.predict(**given, keep="64", api_name="/compare")
    said |= {"full": full, "pruned": pruned, "kept": figures["pruned"]["tokens_kept"]}
    try:  # what only the fork can find out must come back as a sentence
        said["refused"] = client.predict(**given | {"question": "Is it so? " * 390}, api_name="/answer")
    except Exception as error:
        said["refused"] = str(error)
    said["asked of the lender"] = Lender.asked
    print(json.dumps(said, indent=2))
    good = said["device"].startswith("cuda") and "penguin" in pruned and "shorten the question" in said["refused"]
    print("pass" if good else "The page did not answer as it must on ZeroGPU.", flush=True)
    for fork in multiprocessing.active_children():
        fork.kill()
    os._exit(0 if good else 1)  # the threads of the page would be waited for


def _without_a_card() -> None:
    """In the fork the emulated tensors become what they are, on the CPU, instead of going to a card."""
    from spaces.zero import torch as zero
    from spaces.zero.torch import patching

    def move(callback: object = None) -> None:
        for fake, original in patching.cuda_aliases.items():
            if original is not None:
                fake.data = original

    zero.init = lambda uuid: None
    zero.move = move
    zero.pack = lambda: 0


if __name__ == "__main__":
    main()

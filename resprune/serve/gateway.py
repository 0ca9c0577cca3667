"""The endpoint: reads requests, hands each to a replica, and to another one if that replica dies."""

import time
import uuid
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import ray.exceptions
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from ray import serve
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, ReplicaUnavailableError
from ray.serve.handle import DeploymentHandle
from starlette.exceptions import HTTPException

from resprune.serve.chat import Chat, chat_of
from resprune.serve.errors import Refusal
from resprune.serve.retry import Diverged, survived
from resprune.serve.wire import body_of, figures_of, pieces_of, stream_of, usage_of
from resprune.settings import Settings

LOST = (
    ray.exceptions.RayActorError,
    ray.exceptions.WorkerCrashedError,
    ray.exceptions.ObjectLostError,
    ReplicaUnavailableError,
)
app = FastAPI(openapi_url=None)


@app.exception_handler(Refusal)
async def _refuse(_: Request, error: Refusal) -> JSONResponse:
    return JSONResponse(error.as_dict(), error.status, {"retry-after": "1"} if error.status == 503 else None)


@app.exception_handler(HTTPException)
async def _no_such_page(request: Request, error: HTTPException) -> JSONResponse:
    message = f"There is no {request.method} {request.url.path[:100]} here; ask POST /v1/chat/completions."
    return JSONResponse(Refusal(message, error.status_code).as_dict(), error.status_code)


@app.exception_handler(Exception)
async def _fail(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse(Refusal(f"The endpoint failed ({type(error).__name__}).", 500).as_dict(), 500)


# What the class uses stands above it or in other modules: Ray carries it to its process as it is at this line.
@serve.deployment(max_ongoing_requests=64, ray_actor_options={"num_cpus": 0})
@serve.ingress(app)
class Gateway:
    """What HTTP reaches.

    Args:
        replicas: of :class:`resprune.serve.replica.Replica`.
        model: the name of their model.
        defaults: of pruning, where a request does not say.
    """

    def __init__(self, replicas: DeploymentHandle, model: str, defaults: Settings) -> None:
        self._replicas, self._model, self._defaults = replicas.options(stream=True), model, defaults

    @app.get("/health")
    async def health(self) -> dict[str, str]:
        """That the endpoint listens."""
        return {"status": "ok"}

    @app.get("/v1/models")
    async def models(self) -> dict[str, Any]:
        """The one model."""
        entry = {"id": self._model, "object": "model", "created": 0, "owned_by": "resprune"}
        return {"object": "list", "data": [entry]}

    @app.post("/v1/chat/completions")
    async def chat(self, request: Request) -> Response:
        """Answer a question about a picture."""
        chat = chat_of(await body_of(request), self._model, self._defaults)
        head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": self._model}
        pieces = self._pieces(chat)
        # Until the first piece is there, an error can still have a status of its own.
        first = await anext(pieces)
        if chat.stream:
            return StreamingResponse(stream_of(first, pieces, head, chat), media_type="text/event-stream")
        end = [first, *[piece async for piece in pieces]][-1]
        message = {"role": "assistant", "content": end["text"], "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": end["finish_reason"]}
        return JSONResponse(
            head
            | {"object": "chat.completion", "choices": [choice], "usage": usage_of(end), "resprune": figures_of(end)}
        )

    async def _pieces(self, chat: Chat) -> AsyncIterator[dict[str, Any]]:
        try:
            async with aclosing(
                survived(lambda: pieces_of(self._replicas.answer.remote(chat)), LOST, chat.stream)
            ) as pieces:
                async for piece in pieces:
                    if "refused" in piece:
                        raise Refusal(piece["refused"])
                    yield piece
        except BackPressureError:
            raise Refusal("Too many questions wait already; ask again later.", 503, code="overloaded") from None
        except (*LOST, DeploymentUnavailableError):
            raise Refusal("No replica could finish the answer; ask again.", 503, code="replica_lost") from None
        except ray.exceptions.RayTaskError as error:
            reason = str(error.cause or error).strip().split("\n")[-1][:300]
            raise Refusal(f"The answer failed ({reason}).", 500, code="failed") from None
        except Diverged as error:
            first = "The replica died, and another one" if error.retried else "The batch failed, and the question alone"
            message = f"{first} answers differently; ask again."
            raise Refusal(message, 500, code="answer_differs") from None

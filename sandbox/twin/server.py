"""The HTTP face of one engine: what vLLM's API server answers, on a loopback port of its own."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from typing import Any

from aiohttp import web

from inferencefleet.simulator.exposition import Exposure, render
from sandbox.twin.replica import Job, Replica
from sandbox.twin.router import Router
from sandbox.twin.traffic import next_id

_CHARACTERS_PER_TOKEN = 4
"""Prompts arrive as text; a token of English is about four characters."""
_DEFAULT_MAX_TOKENS = 16


def reserve_port() -> socket.socket:
    """A port that refuses connections until a server listens on it, as a loading engine does."""
    reserved = socket.socket()
    reserved.bind(("127.0.0.1", 0))
    return reserved


class EngineServer:
    """Start with `open`, stop with `close`."""

    def __init__(self, replica: Replica, router: Router) -> None:
        self._replica = replica
        self._router = router
        order = replica.order
        self._exposure = Exposure(
            model_name=order.served_names[0],
            created_s=replica.started_s,
            gpu_memory_utilization=order.shape.limits.gpu_memory_utilization,
            prefix_caching=order.prefix_caching,
        )
        self._runner: web.AppRunner | None = None

    async def open(self, reserved: socket.socket) -> None:
        app = web.Application()
        app.add_routes(
            [
                web.get("/health", self._health),
                web.get("/metrics", self._metrics),
                web.get("/v1/models", self._models),
                web.get("/version", self._version),
                web.post("/v1/completions", self._completions),
                web.post("/v1/chat/completions", self._chat),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5, handle_signals=False)
        await self._runner.setup()
        await web.SockSite(self._runner, reserved).start()

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _health(self, _: web.Request) -> web.Response:
        return web.Response(status=503 if self._replica.dead else 200)

    async def _version(self, _: web.Request) -> web.Response:
        return web.json_response({"version": "0.29.0+simulated"})

    async def _metrics(self, _: web.Request) -> web.Response:
        if self._replica.frozen_until_s > time.time():
            return web.Response(status=500, text="frozen by the scenario")
        text = render(self._replica.engine, self._exposure)
        return web.Response(text=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def _models(self, _: web.Request) -> web.Response:
        limit = self._replica.engine.config.max_model_len_tokens
        data = [
            {"id": name, "object": "model", "owned_by": "vllm", "root": self._replica.order.shape.model.id,
             "created": int(self._replica.started_s), "max_model_len": limit}
            for name in self._replica.order.served_names
        ]  # fmt: skip
        return web.json_response({"object": "list", "data": data})

    async def _completions(self, request: web.Request) -> web.StreamResponse:
        body = await _body(request)
        prompt = body.get("prompt", "")
        return await self._answer(request, body, _prompt_tokens(prompt), chat=False)

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await _body(request)
        texts = [str(message.get("content", "")) for message in body.get("messages", ())]
        return await self._answer(request, body, _prompt_tokens("\n".join(texts)), chat=True)

    async def _answer(self, http: web.Request, body: dict[str, Any], prompt: int, *, chat: bool) -> web.StreamResponse:
        replica = self._replica
        model = str(body.get("model", replica.order.served_names[0]))
        if not replica.serves(model):
            return _error(404, f"The model `{model}` does not exist.")
        wanted = body.get("max_completion_tokens") or body.get("max_tokens") or _DEFAULT_MAX_TOKENS
        progress: asyncio.Queue[int | str] = asyncio.Queue()
        job = Job(next_id(), model, time.time(), prompt, int(wanted), finish_reason="length")
        job.on_tokens = lambda tokens, _at_s: progress.put_nowait(tokens)
        job.on_end = progress.put_nowait
        try:
            self._router.direct(replica, job)
        except ValueError as error:
            return _error(400, str(error))
        wire = _Wire(f"cmpl-{job.id}", model, chat=chat)
        try:
            if body.get("stream"):
                return await self._stream(http, wire, progress, prompt)
            while isinstance(sent := await progress.get(), int):
                pass
            if sent != "finished":
                return _error(500, "The engine went away.")
            return web.json_response(wire.whole(prompt, job.output_tokens))
        except (ConnectionResetError, asyncio.CancelledError):
            self._router.cancel(job)
            raise

    async def _stream(
        self, http: web.Request, wire: _Wire, progress: asyncio.Queue[int | str], prompt: int
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(http)
        sent = 0
        while isinstance(tokens := await progress.get(), int):
            while sent < tokens:
                await response.write(wire.event(wire.piece(sent)))
                sent += 1
        if tokens == "finished":
            await response.write(wire.event(wire.last(prompt, sent)))
            await response.write(b"data: [DONE]\n\n")
        elif http.transport is not None:
            http.transport.close()  # a dying server ends no stream politely
        return response


class _Wire:
    """OpenAI's JSON, for completions and for chat."""

    def __init__(self, identity: str, model: str, *, chat: bool) -> None:
        self._chat = chat
        self._head = {"id": f"chat{identity}" if chat else identity, "model": model, "created": int(time.time())}

    def event(self, chunk: dict[str, Any]) -> bytes:
        return b"data: " + json.dumps(chunk).encode() + b"\n\n"

    def _kind(self, *, whole: bool) -> str:
        if not self._chat:
            return "text_completion"
        return "chat.completion" if whole else "chat.completion.chunk"

    def piece(self, index: int) -> dict[str, Any]:
        content = {"delta": {"content": " token"}} if self._chat else {"text": " token"}
        choice = {"index": 0, "finish_reason": None, **content}
        return {**self._head, "object": self._kind(whole=False), "choices": [choice]}

    def last(self, prompt: int, tokens: int) -> dict[str, Any]:
        content: dict[str, Any] = {"delta": {}} if self._chat else {"text": ""}
        choice = {"index": 0, "finish_reason": "length", **content}
        return {
            **self._head,
            "object": self._kind(whole=False),
            "choices": [choice],
            "usage": _usage(prompt, tokens),
        }

    def whole(self, prompt: int, tokens: int) -> dict[str, Any]:
        text = " token" * tokens
        content: dict[str, Any] = {"message": {"role": "assistant", "content": text}} if self._chat else {"text": text}
        choice = {"index": 0, "finish_reason": "length", **content}
        return {**self._head, "object": self._kind(whole=True), "choices": [choice], "usage": _usage(prompt, tokens)}


def _usage(prompt: int, tokens: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": tokens, "total_tokens": prompt + tokens}


def _prompt_tokens(prompt: object) -> int:
    """Text, or token ids as OpenAI's API allows."""
    if isinstance(prompt, list):
        return max(1, len(prompt))
    return max(1, len(str(prompt)) // _CHARACTERS_PER_TOKEN)


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except ValueError as error:
        raise web.HTTPBadRequest(text="the body is not JSON") from error
    if not isinstance(body, dict):
        raise web.HTTPBadRequest(text="the body is not a JSON object")
    return body


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"error": {"message": message, "type": "BadRequestError", "code": status}}, status=status)

"""A client written from protocol/SPEC.md alone: plain websockets and struct, nothing of ours.

Usage: spec_client.py FOLDER PROMPT OUT.ppm
"""

import asyncio
import json
import struct
import sys
import uuid
from pathlib import Path

import websockets


def blob(header, *pictures):
    """Section 2: header length, header, pixels. A picture is (width, height, format, bytes)."""
    header["pictures"] = [
        {"width": w, "height": h, "format": f, "encoding": "raw", "bytes": len(data)}
        for w, h, f, data in pictures
    ]
    text = json.dumps(header).encode()
    return struct.pack("<I", len(text)) + text + b"".join(data for *_, data in pictures)


def parse(message):
    (length,) = struct.unpack_from("<I", message)
    header = json.loads(message[4 : 4 + length])
    pixels, at = [], 4 + length
    for picture in header.get("pictures", []):
        pixels.append(message[at : at + picture["bytes"]])
        at += picture["bytes"]
    return header, pixels


async def main(folder, prompt, out):
    where = json.loads((folder / "server.json").read_text())
    token = (folder / "token").read_text().strip()
    url = f"ws://{where['host']}:{where['port']}"
    # As a browser-like client must: the token as a subprotocol, no headers.
    protocols = ["velatura.v1", f"velatura.token.{token}"]
    async with websockets.connect(url, subprotocols=protocols, compression=None) as socket:
        await socket.send(blob({"type": "hello", "version": 1, "client": "spec client"}))
        models = []
        while not models:
            header, _ = parse(await socket.recv())
            models = header["models"] if header["type"] == "catalogue" else []
        width, height = 96, 64
        request = {
            "type": "generate",
            "job": str(uuid.uuid4()),
            "action": "generate",
            "model": models[0]["name"],
            "canvas": {"width": width, "height": height},
            "region": {"x": 0, "y": 0, "width": width, "height": height},
            "surroundings": 0,
            "prompt": prompt,
            "steps": 3,
            "sampler": models[0]["samplers"][0],
        }
        white = (width, height, "rgba8", b"\xff" * (4 * width * height))
        await socket.send(blob(request, white))
        while True:
            header, pixels = parse(await socket.recv())
            if header["type"] == "error":
                raise SystemExit(header["code"] + ": " + header["message"])
            if header["type"] == "result":
                break
        await socket.send(blob({"type": "acknowledge", "job": request["job"]}))
        size = header["pictures"][header["picture"]]
        rgb = b"".join(pixels[0][i : i + 3] for i in range(0, len(pixels[0]), 4))
        out.write_bytes(b"P6 %d %d 255\n" % (size["width"], size["height"]) + rgb)


asyncio.run(main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])))

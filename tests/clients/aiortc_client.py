#!/usr/bin/env python3
"""aiortc presents by WHIP and watches by WHEP; prints one JSON object with what it counted.

aiortc_client.py --whip URL --whep URL --token TOKEN --codec video/VP8 [--seconds 8]
"""

import argparse
import asyncio
import fractions
import json
import time
from urllib.parse import urljoin

import aiohttp
import av
import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, MediaStreamError, VideoStreamTrack

SIZE = (640, 360)
SAMPLE_RATE = 48_000
SAMPLES_PER_FRAME = 960
FIRST_PICTURE_WITHIN = 15.0  # seconds


class Pattern(VideoStreamTrack):
    """A white square that moves over a changing ground, 30 pictures a second."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = 0

    async def recv(self) -> av.VideoFrame:
        pts, time_base = await self.next_timestamp()
        width, height = SIZE
        picture = np.full((height, width, 3), (self.sent % 256, 64, 128), np.uint8)
        left = (self.sent * 7) % (width - 60)
        picture[150:210, left : left + 60] = 255
        frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
        frame.pts, frame.time_base = pts, time_base
        self.sent += 1
        return frame


class Tone(AudioStreamTrack):
    """440 Hz."""

    def __init__(self) -> None:
        super().__init__()
        self.samples = 0
        self.started: float | None = None

    async def recv(self) -> av.AudioFrame:
        if self.started is None:
            self.started = time.monotonic()
        await asyncio.sleep(max(0.0, self.started + self.samples / SAMPLE_RATE - time.monotonic()))
        ticks = np.arange(SAMPLES_PER_FRAME) + self.samples
        wave = (np.sin(2 * np.pi * 440 * ticks / SAMPLE_RATE) * 8000).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(wave.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, self.samples, fractions.Fraction(1, SAMPLE_RATE)
        self.samples += SAMPLES_PER_FRAME
        return frame


class Counter:
    """Counts what arrives on the viewer's tracks."""

    def __init__(self) -> None:
        self.frames = 0
        self.size: tuple[int, int] | None = None
        self.energy = 0.0
        self.first = asyncio.Event()

    def watch(self, track: MediaStreamTrack) -> None:
        asyncio.ensure_future(self._pump(track))

    async def _pump(self, track: MediaStreamTrack) -> None:
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            if track.kind == "video":
                self.frames += 1
                self.size = (frame.width, frame.height)
                self.first.set()
            else:
                self.energy += float(np.square(frame.to_ndarray().astype(np.float64) / 32768).sum())


class Session:
    """A connection and the resource that stands for it."""

    def __init__(self) -> None:
        self.peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.location = ""

    async def open(self, http: aiohttp.ClientSession, url: str, token: str | None) -> None:
        """POSTs the offer; asks again for 10 s while the stream is not live yet."""
        await self.peer.setLocalDescription(await self.peer.createOffer())
        headers = {"Content-Type": "application/sdp"} | ({"Authorization": f"Bearer {token}"} if token else {})
        for attempt in range(20):
            async with http.post(url, data=self.peer.localDescription.sdp, headers=headers) as answer:
                body = await answer.text()
                if answer.status == 201:
                    self.location = urljoin(url, answer.headers["Location"])
                    await self.peer.setRemoteDescription(RTCSessionDescription(body, "answer"))
                    return
                if answer.status != 409 or "Retry-After" not in answer.headers or attempt == 19:
                    raise SystemExit(f"POST {url}: {answer.status} {body}")
            await asyncio.sleep(0.5)

    async def close(self, http: aiohttp.ClientSession) -> int:
        """DELETEs the session; returns the status."""
        async with http.delete(self.location) as answer:
            status = answer.status
        await self.peer.close()
        return status

    async def video(self, kind: str) -> dict[str, object]:
        """Packet counts of the video track."""
        report = await self.peer.getStats()
        names = ("packetsSent", "packetsReceived", "packetsLost")
        for entry in report.values():
            if entry.type == kind and entry.kind == "video":
                return {name: getattr(entry, name) for name in names if hasattr(entry, name)}
        return {}


async def present(http: aiohttp.ClientSession, words: argparse.Namespace, pattern: Pattern) -> Session:
    """Publishes the pattern and the tone."""
    session = Session()
    session.peer.addTransceiver(Tone(), "sendonly")
    video = session.peer.addTransceiver(pattern, "sendonly")
    codecs = RTCRtpSender.getCapabilities("video").codecs
    video.setCodecPreferences([codec for codec in codecs if codec.mimeType.lower() == words.codec.lower()])
    await session.open(http, words.whip, words.token)
    return session


async def watch(http: aiohttp.ClientSession, words: argparse.Namespace, counter: Counter) -> Session:
    """Plays into the counter."""
    session = Session()
    session.peer.addTransceiver("audio", "recvonly")
    session.peer.addTransceiver("video", "recvonly")
    session.peer.on("track", counter.watch)
    await session.open(http, words.whep, None)
    return session


async def main(words: argparse.Namespace) -> None:
    pattern, counter = Pattern(), Counter()
    async with aiohttp.ClientSession() as http:
        presenter = await present(http, words, pattern)
        began = time.monotonic()
        viewer = await watch(http, words, counter)
        await asyncio.wait_for(counter.first.wait(), FIRST_PICTURE_WITHIN)
        first_picture = time.monotonic() - began
        # Until it has caught up: what was sent before it came is not to be counted.
        await asyncio.sleep(1.0)

        sent, decoded, energy = pattern.sent, counter.frames, counter.energy
        await asyncio.sleep(words.seconds)
        counted = {
            "framesSent": pattern.sent - sent,
            "framesDecoded": counter.frames - decoded,
            "audioEnergy": counter.energy - energy,
            "size": counter.size,
            "firstPictureSeconds": round(first_picture, 2),
            "viewer": await viewer.video("inbound-rtp"),
            "presenter": await presenter.video("outbound-rtp"),
        }
        counted["deleted"] = [await viewer.close(http), await presenter.close(http)]
    print(json.dumps(counted))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--whip", required=True)
    parser.add_argument("--whep", required=True)
    parser.add_argument("--token", required=True)
    parser.add_argument("--codec", required=True)
    parser.add_argument("--seconds", type=float, default=8.0)
    asyncio.run(main(parser.parse_args()))

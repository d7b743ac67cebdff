#!/usr/bin/python3
"""A real HTTP server for the tests, on bare sockets, so that it can fail in any way.

It listens on 127.0.0.1 and keeps what it is told in a directory:

  port             the port it listens on, written when it does
  requests.jsonl   a line per request: method, path, headers, body, peer (the
                   client's port), number (of the path, from 1), tls
  ended.jsonl      a line per connection that the client ended while it waited
  behaviour.json   read at each request, if it is there: {PATH: REPLY or [REPLY, ...]}
                   of a list the first reply is that of the first request of the path,
                   the last one that of all that follow

A REPLY is an object of these, all optional; without one it is 200 and "hello":

  status    200           headers  {"Retry-After": "7"}
  body      text          size     a body of so many bytes, or "endless"
  delay     seconds       hang     never answers
  echo      true: the body is the request's head
  close     "at once", before an answer, or "midway", after half of the body
  raw       what is sent instead of an answer

It runs until it is killed.
"""

import argparse
import asyncio
import json
import os
import ssl
import time


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dir", required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--cert", nargs=2, metavar=("CERT", "KEY"))
    return parser.parse_args()


class Server:
    def __init__(self, directory, tls):
        self.directory = directory
        self.tls = tls
        self.numbers = {}

    def append(self, name, record):
        with open(os.path.join(self.directory, name), "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def reply_to(self, path, number):
        """What is to be answered to a request of a path, of that number."""
        try:
            with open(os.path.join(self.directory, "behaviour.json"), encoding="utf-8") as file:
                behaviour = json.load(file)
        except FileNotFoundError:
            return {}
        replies = behaviour.get(path, behaviour.get(path.split("?")[0], {}))
        if isinstance(replies, list):
            return replies[min(number, len(replies)) - 1]
        return replies

    async def read_request(self, reader):
        """A request as a dictionary; None: the client has left."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        first, *lines = head.decode("latin-1").split("\r\n")[:-2]
        method, path, _ = first.split(" ")
        headers = dict((name.lower(), value.strip()) for name, value in (line.split(":", 1) for line in lines))
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        number = self.numbers[path] = self.numbers.get(path, 0) + 1
        return {"at": time.time(), "method": method, "path": path, "headers": headers, "head": head.decode("latin-1"),
                "body": body.decode("utf-8", "replace"), "number": number, "tls": self.tls}

    async def send_endless(self, writer):
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    async def answer(self, request, reply, writer):
        """Answer a request; False: the connection is to be closed."""
        await asyncio.sleep(reply.get("delay", 0))
        if "raw" in reply:
            writer.write(reply["raw"].encode("latin-1"))
            await writer.drain()
            return False
        size = reply.get("size")
        body = reply.get("body", request["head"] if reply.get("echo") else "hello").encode("utf-8")
        if isinstance(size, int):
            body = b"x" * size
        status = reply.get("status", 200)
        headers = dict(reply.get("headers", {}))
        if size != "endless" and status != 204:
            headers["Content-Length"] = str(len(body))
        head = "HTTP/1.1 %d %s\r\n" % (status, reply.get("reason", "Some Reason"))
        head += "".join("%s: %s\r\n" % header for header in headers.items()) + "\r\n"
        writer.write(head.encode("latin-1"))
        if size == "endless":
            await self.send_endless(writer)
        if reply.get("close") == "midway":
            writer.write(body[:len(body) // 2])
            await writer.drain()
            return False
        if request["method"] != "HEAD" and status != 204:
            writer.write(body)
        await writer.drain()
        return True

    async def hang(self, request, reader):
        """Never answer; notes when the client gives up."""
        await reader.read()
        self.append("ended.jsonl", {"at": time.time(), "path": request["path"]})

    async def serve(self, reader, writer):
        try:
            while True:
                request = await self.read_request(reader)
                if request is None:
                    break
                request["peer"] = writer.get_extra_info("peername")[1]
                reply = self.reply_to(request["path"], request["number"])
                self.append("requests.jsonl", request)
                if reply.get("hang"):
                    await self.hang(request, reader)
                    break
                if reply.get("close") == "at once" or not await self.answer(request, reply, writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            writer.close()


async def main():
    arguments = parse_arguments()
    context = None
    if arguments.cert:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*arguments.cert)
    server = Server(arguments.dir, context is not None)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", arguments.port, ssl=context, backlog=512)
    path = os.path.join(arguments.dir, "port")
    with open(path + ".new", "w", encoding="ascii") as file:
        file.write(str(listener.sockets[0].getsockname()[1]))
    os.rename(path + ".new", path)
    async with listener:
        await listener.serve_forever()


asyncio.run(main())

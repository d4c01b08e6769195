"""A web server for tests that takes what webhooks are sent; tests/support/hook.rs starts it and says what its folder holds.

It listens on the socket that is its standard input and prints `ready PORT`. Every request is written into its folder,
whole before its `.done` appears: `0001.head` the request line and the headers, one a line, `0001.body` the bytes.
"""

import argparse
import os
import socket
import ssl
import threading
import time


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", required=True)
    parser.add_argument("--certificate")
    parser.add_argument("--key")
    parser.add_argument("--answers", default="", help="for each request in turn, with commas between: see `answer`")
    options = parser.parse_args()
    answers = [answer for answer in options.answers.split(",") if answer]
    context = None
    if options.certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options.certificate, options.key)
    listener = socket.socket(fileno=0)
    listener.listen()
    lock, count = threading.Lock(), [0]

    def serve(line):
        try:
            line.settimeout(60)
            if context:
                line = context.wrap_socket(line, server_side=True)
            head, body = read(line)
            with lock:
                count[0] += 1
                said = answers.pop(0) if answers else "200"
                stem = os.path.join(options.folder, f"{count[0]:04}")
                write(stem + ".head", head)
                write(stem + ".body", body)
                write(stem + ".done", b"")
            answer(line, said, head)
            line.close()
        except OSError:
            # Whoever hangs up early is a part of the tests.
            pass

    print("ready", listener.getsockname()[1], flush=True)
    while True:
        line, _ = listener.accept()
        threading.Thread(target=serve, args=[line], daemon=True).start()


def read(line):
    data = b""
    while b"\r\n\r\n" not in data:
        more = line.recv(65536)
        if not more:
            raise OSError("no request")
        data += more
    head, body = data.split(b"\r\n\r\n", 1)
    lengths = [field.split(b":")[1] for field in head.split(b"\r\n") if field.lower().startswith(b"content-length:")]
    while len(body) < int(lengths[0]):
        body += line.recv(65536)
    return head.replace(b"\r\n", b"\n"), body


def answer(line, said, head):
    """`200`, `429:30` (Retry-After), `302:URL`; `hang`, `close`, `garbage`; and of a status, `-endless` and `-drip` go on
    for ever, `-echo` repeats the whole request."""
    said, _, manner = said.partition("-")
    code, _, more = said.partition(":")
    if code == "hang":
        time.sleep(600)
    elif code == "garbage":
        line.sendall(b"\x00\xff\xfe" * 1000)
    if not code.isdigit():
        return
    fields = {"429": f"Retry-After: {more}\r\n", "302": f"Location: {more}\r\n"}.get(code, "") if more else ""
    line.sendall(f"HTTP/1.1 {code} Whatever\r\n{fields}".encode())
    if manner == "endless":
        line.sendall(b"\r\n")
        while True:
            line.sendall(b"x" * 65536)
    elif manner == "drip":
        line.sendall(b"\r\n")
        while True:
            line.sendall(b"x")
            time.sleep(0.1)
    body = head if manner == "echo" else b"done"
    line.sendall(f"Content-Length: {len(body)}\r\n\r\n".encode() + body)


def write(path, content):
    with open(path, "wb") as file:
        file.write(content)


main()

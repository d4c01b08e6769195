"""An SMTP server for tests, on python3-aiosmtpd; tests/support/smtp.rs starts it and says what its folder holds.

It listens on the socket that is its standard input and prints `ready PORT`. Every mail that it takes is written into its folder, whole before its
`.done` appears: `0001.raw` the bytes, `0001.envelope` sender and recipients by line, `0001.headers` the decoded headers
as `Name: value`, `0001.part.N` and `0001.part.N.type` (media type, file name, Content-ID) for each leaf of the MIME
tree, `0001.structure` that tree. `verbs` is the list of all commands by line, without what came with them.
"""

import argparse
import asyncio
import email
import email.policy
import logging
import os
import socket
import ssl
import warnings

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword


class Server(SMTP):
    """Notes every command, and answers transactions as the script of the test wants it."""

    def __init__(self, options, state, **more):
        super().__init__(state, **more)
        self.options = options
        self.state = state
        self.answer = "ok"

    async def smtp_MAIL(self, arg):
        self.answer = self.state.answers.pop(0) if self.state.answers else "ok"
        await super().smtp_MAIL(arg)

    async def smtp_RCPT(self, arg):
        refusals = [part.split(":") for part in self.answer.split("+") if ":" in part]
        code = next((code for code, who in refusals if who in arg), None)
        if self.answer == "refuse-recipient" or code == "550":
            await self.push("550 5.1.1 no such user")
        elif code:
            await self.push(code + " 4.2.1 not now")
        else:
            await super().smtp_RCPT(arg)

    async def smtp_DATA(self, arg):
        if self.answer == "hang-in-data":
            await self.push("354 go on")
            await asyncio.sleep(600)
        elif self.answer == "close-in-data":
            await self.push("354 go on")
            await asyncio.sleep(0)
            self.transport.abort()
        else:
            await super().smtp_DATA(arg)


def noting(verb):
    inherited = getattr(Server, verb)

    async def note(self, arg):
        self.state.note(verb.removeprefix("smtp_"))
        await inherited(self, arg)

    return note


for verb in [name for name in dir(Server) if name.startswith("smtp_")]:
    setattr(Server, verb, noting(verb))


class State:
    """What all connections share; also aiosmtpd's handler."""

    def __init__(self, options):
        self.folder = options.folder
        self.answers = [answer for answer in options.answers.split(",") if answer]
        self.count = 0

    def note(self, verb):
        with open(os.path.join(self.folder, "verbs"), "a") as verbs:
            verbs.write(verb + "\n")

    async def handle_DATA(self, server, session, envelope):
        if server.answer[:1].isdigit() and ":" not in server.answer:
            return server.answer.replace("_", " ")
        self.keep(envelope)
        if server.answer == "close-after-data":
            server.transport.abort()
        return "250 2.0.0 kept"

    def keep(self, envelope):
        self.count += 1
        stem = os.path.join(self.folder, f"{self.count:04}")
        write(stem + ".raw", envelope.original_content)
        write(stem + ".envelope", "\n".join([envelope.mail_from, *envelope.rcpt_tos]).encode())
        mail = email.message_from_bytes(envelope.original_content, policy=email.policy.default)
        headers = [f"{name}: {' '.join(str(value).split())}" for name, value in mail.items()]
        write(stem + ".headers", "\n".join(headers).encode())
        leaves = [part for part in mail.walk() if not part.is_multipart()]
        for number, part in enumerate(leaves):
            write(f"{stem}.part.{number}", part.get_payload(decode=True))
            told = [part.get_content_type(), part.get_filename() or "", (part["Content-ID"] or "").strip("<>")]
            write(f"{stem}.part.{number}.type", "\n".join(told).encode())
        write(stem + ".structure", structure(mail).encode())
        write(stem + ".done", b"")


def structure(part):
    if not part.is_multipart():
        return part.get_content_type()
    return f"{part.get_content_subtype()}({' '.join(structure(one) for one in part.iter_parts())})"


def write(path, content):
    with open(path, "wb") as file:
        file.write(content)


async def main():
    options = arguments()
    state = State(options)
    context = None
    if options.mode != "plain":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options.certificate, options.key)

    def check(server, session, envelope, mechanism, data):
        right = (
            isinstance(data, LoginPassword)
            and data.login.decode() == options.user
            and data.password.decode() == options.password
        )
        if right:
            return AuthResult(success=True)
        # A careless server that repeats what it was sent, as some do.
        echo = data.password.decode() if isinstance(data, LoginPassword) else ""
        return AuthResult(success=False, handled=False, message=f"535 5.7.8 no such user or password {echo}")

    def factory():
        return Server(
            options,
            state,
            hostname="test.invalid",
            tls_context=context if options.mode == "starttls" else None,
            require_starttls=options.mode == "starttls",
            authenticator=check if options.user else None,
            auth_required=bool(options.user),
            auth_require_tls=options.mode == "starttls",
            auth_exclude_mechanism=options.without_mechanism.split(","),
            data_size_limit=64 << 20,
            timeout=60,
        )

    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        factory, sock=socket.socket(fileno=0), ssl=context if options.mode == "implicit" else None
    )
    print("ready", server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mode", choices=["implicit", "starttls", "plain"], required=True)
    parser.add_argument("--folder", required=True)
    parser.add_argument("--certificate")
    parser.add_argument("--key")
    parser.add_argument("--user", default="")
    parser.add_argument("--password", default="")
    parser.add_argument("--without-mechanism", default="")
    parser.add_argument(
        "--answers",
        default="",
        help="for each transaction: ok, refuse-recipient, 550:boss+451:noc (the code for whose address has the word), "
        "close-in-data, close-after-data, hang-in-data, or the reply to its data with _ for blanks; ok when the list is over",
    )
    return parser.parse_args()


logging.disable(logging.CRITICAL)
warnings.simplefilter("ignore")
asyncio.run(main())

"""A hostile SMTP server for tests: whatever it refuses, it repeats all it was told of the login, as it came and decoded.

It listens on the socket that is its standard input, prints `ready PORT`, and takes what fails from its arguments: a verb
(or `.` for the end of the mail), and the code that it gets: `AUTH 535`, `DATA 451`, `. hang`, `RCPT close`. It writes the
verbs into the file that is its third argument.
"""

import base64
import socket
import sys
import threading
import time


def main():
    verb, manner, verbs = sys.argv[1:4]
    listener = socket.socket(fileno=0)
    listener.listen()
    print("ready", listener.getsockname()[1], flush=True)
    while True:
        line, _ = listener.accept()
        threading.Thread(target=converse, args=[line, verb, manner, verbs], daemon=True).start()


def converse(line, fails, manner, verbs):
    heard = []
    lines = line.makefile("rb")
    say(line, b"220 parrot")
    while said := lines.readline():
        words = said.split()
        verb = words[0].upper().decode() if words else ""
        if verb == "AUTH":
            heard = [words[-1], base64.b64decode(words[-1]), base64.b64decode(words[-1]).split(b"\0")[-1]]
        if verb == "DATA" and fails == ".":
            say(line, b"354 go on")
            while lines.readline().rstrip() != b".":
                pass
            verb = "."
        with open(verbs, "a") as file:
            file.write(verb + "\n")
        if verb == fails:
            if manner == "hang":
                time.sleep(600)
            if manner == "close":
                return line.close()
            if manner == "garbage":
                say(line, b"\xff\xfe" + b" ".join(heard) * 100)
            else:
                say(line, manner.encode() + b"-" + b" ".join(heard))
                say(line, manner.encode() + b" " + b" ".join(heard))
        elif verb == "EHLO":
            say(line, b"250-parrot\r\n250 AUTH PLAIN LOGIN")
        elif verb == "AUTH":
            say(line, b"235 welcome " + b" ".join(heard))
        elif verb == "DATA":
            say(line, b"354 go on")
            while lines.readline().rstrip() != b".":
                pass
            say(line, b"250 taken")
        elif verb == "QUIT":
            say(line, b"221 bye")
            return line.close()
        else:
            say(line, b"250 " + b" ".join(heard))


def say(line, reply):
    try:
        line.sendall(reply + b"\r\n")
    except OSError:
        pass


main()

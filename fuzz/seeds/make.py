#!/usr/bin/env python3
"""Writes the seeds of the fuzz targets that read packets: those of fixtures/packets, and control messages as Linux lays
them out (cmsg(3), and struct sock_extended_err in linux/errqueue.h)."""

import ipaddress
import pathlib
import struct

HERE = pathlib.Path(__file__).parent
PACKETS = HERE.parent.parent / "fixtures" / "packets"
AF_INET, AF_INET6 = 2, 10
SOL_IP, SOL_SOCKET, SOL_IPV6 = 0, 1, 41
IP_TTL, IP_RECVERR, IPV6_RECVERR, IPV6_HOPLIMIT = 2, 11, 25, 52
SCM_TIMESTAMPING = 37
EHOSTUNREACH, ENOMSG = 113, 42
ORIGIN_ICMP, ORIGIN_ICMP6, ORIGIN_TIMESTAMPING = 2, 3, 4


def packet(file):
    lines = file.read_text().splitlines()
    return bytes.fromhex("".join(line for line in lines if not line.startswith("#")))


def control(level, kind, data):
    return struct.pack("=Qii", 16 + len(data), level, kind) + data + bytes(-len(data) % 8)


def extended_error(errno, origin, kind, code, info, data, offender=b""):
    return struct.pack("=IBBBBII", errno, origin, kind, code, 0, info, data) + offender


def main():
    seeds = {file.stem: packet(file) for file in sorted(PACKETS.glob("*.hex"))}
    stamps = control(SOL_SOCKET, SCM_TIMESTAMPING, struct.pack("=6q", 1_795_610_040, 123_456_789, 0, 0, 0, 0))
    router4 = struct.pack("=HH", AF_INET, 0) + ipaddress.ip_address("198.18.0.254").packed + bytes(8)
    router6 = struct.pack("=HHI", AF_INET6, 0, 0) + ipaddress.ip_address("fd00::fe").packed + bytes(4)
    seeds["control-reply-v4"] = stamps + control(SOL_IP, IP_TTL, struct.pack("=i", 64))
    seeds["control-reply-v6"] = stamps + control(SOL_IPV6, IPV6_HOPLIMIT, struct.pack("=i", 64))
    sent = extended_error(ENOMSG, ORIGIN_TIMESTAMPING, 0, 0, 0, 7)
    seeds["control-sent-v4"] = stamps + control(SOL_IP, IP_RECVERR, sent + bytes(16))
    seeds["control-sent-v6"] = stamps + control(SOL_IPV6, IPV6_RECVERR, sent + bytes(28))
    refused4 = extended_error(EHOSTUNREACH, ORIGIN_ICMP, 3, 1, 0, 0, router4)
    refused6 = extended_error(EHOSTUNREACH, ORIGIN_ICMP6, 1, 3, 0, 0, router6)
    seeds["control-refused-v4"] = stamps + control(SOL_IP, IP_RECVERR, refused4)
    seeds["control-refused-v6"] = stamps + control(SOL_IPV6, IPV6_RECVERR, refused6)
    write("icmp", seeds)
    # The first byte says how the rest is read; of zeros it makes the true reply: fuzz_targets/proof.rs.
    v6, raw, summed, ours = 1, 2, 4, 8
    header = seeds["reply-v4-options"][:32]
    write("proof", {
        "reply-v4": bytes([summed | ours]) + bytes(64),
        "reply-v4-options": bytes([raw | summed | ours]) + header + bytes(64),
        "reply-v6": bytes([v6 | ours]) + bytes(64),
    })


def write(target, seeds):
    (HERE / target).mkdir(exist_ok=True)
    for name, seed in seeds.items():
        (HERE / target / name).write_bytes(seed)


if __name__ == "__main__":
    main()

"""Seals and verifies messages for the tests, with another implementation.

Reads a list of jobs as JSON from standard input and writes the list of answers:
  {"verify": message, "zone": {name: record}}                    -> {"cv", "sets"}
  {"seal": message, "key": PEM, "domain", "selector", "id"}       -> {"set"}
Messages are in base64. No name is ever looked up elsewhere than in zone.
"""
import base64
import json
import sys

import dkim

# Its ARC knows RSA only, though its DKIM knows both.
dkim.ARC_HASH_ALGORITHMS = dkim.HASH_ALGORITHMS


def verify(job):
    zone = {k.rstrip("."): v.encode() for k, v in job["zone"].items()}
    look_up = lambda name, timeout=5: zone.get(name.decode().rstrip("."))
    cv, sets, why = dkim.ARC(base64.b64decode(job["verify"])).verify(dnsfunc=look_up)
    return {"cv": (cv or b"ended").decode(), "why": why,
            "sets": [{"instance": s["instance"], "message": s["ams-valid"], "seal": s["as-valid"]} for s in sets]}


def seal(job):
    lines = dkim.arc_sign(base64.b64decode(job["seal"]), job["selector"].encode(), job["domain"].encode(),
                          job["key"].encode(), job["id"].encode())
    return {"set": base64.b64encode(b"".join(lines)).decode()}


json.dump([verify(j) if "verify" in j else seal(j) for j in json.load(sys.stdin)], sys.stdout)

"""Signs and verifies messages with dkimpy (Debian: python3-dkim).

A request is a line of JSON on standard input, and its answer one on standard
output; octets are in base64. Nothing is asked of the DNS: the first line has
the keys by their selectors, each with its algorithm, private key and record.

  {"sign": MESSAGE, "selector": S, "canonicalization": C, "freeze": BOOL}
      -> {"field": the DKIM-Signature field}
  {"verify": MESSAGE}
      -> {"verdicts": one for each signature from the top; "pass" or why not}
"""

import base64
import json
import sys

import dkim

DOMAIN = b"sender.example"

# A frozen field is signed once more than it is there, so that none can be added.
FROZEN = (b"from", b"to", b"cc", b"subject", b"date", b"message-id")


def sign(keys, request):
    key = keys[request["selector"]]
    signer = dkim.DKIM(base64.b64decode(request["sign"]))
    signer.should_not_sign = set()  # every field is signed, those of the trace too
    names = [name for name, _ in signer.headers]
    if request["freeze"]:
        names += FROZEN
    field = signer.sign(
        request["selector"].encode(), DOMAIN, key["private"].encode(),
        signature_algorithm=key["algorithm"].encode(),
        canonicalize=tuple(request["canonicalization"].encode().split(b"/")),
        include_headers=names)
    return {"field": base64.b64encode(field).decode()}


def verify(keys, request):
    def lookup(name, timeout=None):
        selector, _, rest = name.decode().partition(".")
        known = rest == "_domainkey." + DOMAIN.decode() + "."
        return keys[selector]["record"].encode() if known and selector in keys else None

    verdicts = []
    try:
        verifier = dkim.DKIM(base64.b64decode(request["verify"]))
    except dkim.MessageFormatError as e:
        return {"verdicts": [str(e)]}
    signatures = sum(name.lower() == b"dkim-signature" for name, _ in verifier.headers)
    for i in range(signatures):
        try:
            good = verifier.verify(i, dnsfunc=lookup)
            verdicts.append("pass" if good else "the signature is wrong")
        except dkim.DKIMException as e:
            verdicts.append(str(e) or type(e).__name__)
    return {"verdicts": verdicts}


def main():
    keys = json.loads(sys.stdin.readline())
    for line in sys.stdin:
        request = json.loads(line)
        answer = sign(keys, request) if "sign" in request else verify(keys, request)
        print(json.dumps(answer), flush=True)


main()

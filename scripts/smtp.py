# What: the server that scripts/smtp starts: takes mail, and prints it as Python's library reads it.
# Why:  see there.
# Needs: python3, aiosmtpd.
import asyncio
import email
import email.policy
import hmac
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

way, certificate, key, password_file = sys.argv[1:]
with open(password_file, encoding="utf-8") as file:
    password = file.read().strip().encode()


class Prints:
    async def handle_DATA(self, server, session, envelope):
        read = email.message_from_bytes(envelope.content, policy=email.policy.default)
        parts = {part.get_content_type(): part.get_content() for part in read.walk() if not part.is_multipart()}
        print(json.dumps({
            "from": envelope.mail_from, "to": envelope.rcpt_tos, "authenticated": session.authenticated,
            "tls": server.transport.get_extra_info("ssl_object") is not None,
            "headers": [[name, str(value)] for name, value in read.items()], "parts": parts,
            "defects": [str(it) for part in read.walk() for it in part.defects]}), flush=True)
        return "250 2.0.0 taken"


def who(_server, _session, _envelope, _mechanism, data):
    is_known = isinstance(data, LoginPassword) and data.login == b"millstream"
    return AuthResult(success=is_known and hmac.compare_digest(data.password, password), handled=False)


async def serve():
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    starttls = way == "starttls"

    def connection():
        return SMTP(Prints(), hostname="real.example", authenticator=who, auth_required=True,
                    tls_context=tls if starttls else None, require_starttls=starttls,
                    auth_require_tls=starttls)

    loop = asyncio.get_running_loop()
    server = await loop.create_server(connection, "127.0.0.1", 0, ssl=None if starttls else tls)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(serve())

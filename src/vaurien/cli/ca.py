"""``vaurien ca``: make a certificate authority once, and say how programs come to trust it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from vaurien import tls
from vaurien.cli.usage import run_command
from vaurien.errors import ConfigError, VaurienError

TRUST = """Clients have to trust {folder}/ca.pem. Its key, {folder}/ca-key.pem, is a secret.

Trust it in one program:
  curl      curl --cacert {folder}/ca.pem https://…             or CURL_CA_BUNDLE={folder}/ca.pem
  Python    ssl.create_default_context(cafile="{folder}/ca.pem")  or SSL_CERT_FILE={folder}/ca.pem
            requests: REQUESTS_CA_BUNDLE={folder}/ca.pem          httpx: SSL_CERT_FILE
  Node      NODE_EXTRA_CA_CERTS={folder}/ca.pem
  Go        SSL_CERT_FILE={folder}/ca.pem
  Java      keytool -importcert -noprompt -alias vaurien -file {folder}/ca.pem -keystore trust.p12 -storepass changeit
            java -Djavax.net.ssl.trustStore=trust.p12 -Djavax.net.ssl.trustStorePassword=changeit …
  Firefox   Settings, Privacy & Security, View Certificates, Authorities, Import
  Chrome    Settings, Privacy and security, Security, Manage certificates, Authorities, Import

Have it refuse what is revoked (tls_certificate flaw=revoked); the list is valid for 199 days (vaurien ca --crl):
  curl      curl --cacert {folder}/ca.pem --crlfile {folder}/ca-crl.pem https://…
  Python    context.load_verify_locations("{folder}/ca-crl.pem")
            context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF

Or on this machine, for everything (think twice: with the key one can then pose as any server):
  Debian    cp {folder}/ca.pem /usr/local/share/ca-certificates/vaurien.crt && update-ca-certificates
"""


@click.command(
    "ca",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="\b\nFor example:\n  vaurien ca\n  vaurien ca --folder certificates --permit example.test",
)
@click.option("--folder", type=click.Path(path_type=Path), help="Where it is kept [default: ~/.local/share/vaurien].")
@click.option(
    "--permit",
    "permitted",
    multiple=True,
    metavar="NAME",
    help="It may sign for this DNS name and what is below it, or for this network, and for nothing else. Repeatable.",
)
@click.option(
    "--crl",
    is_flag=True,
    help="Write FOLDER/ca-crl.pem anew, the list by which clients refuse tls_certificate flaw=revoked.",
)
@click.option("--force", is_flag=True, help="Replace the one that is there: clients that trust it have to trust anew.")
@click.pass_context
def command(context: click.Context, folder: Path | None, permitted: tuple[str, ...], crl: bool, force: bool) -> None:
    """Make a certificate authority (EC P-256, valid for 10 years), unless there is one, and say how to trust it.

    A proxy with tls = "auto" signs by it what it shows to clients.
    """
    tls.require()
    from vaurien.tls.authority import CERTIFICATE, Authority

    place = folder or tls.default_folder(context.obj)
    if (place / CERTIFICATE).exists() and not force:
        if permitted:
            raise ConfigError(
                f"{place / CERTIFICATE} exists, and --permit cannot change it; expected --force beside it"
            )
        authority = Authority.load(place)
        if crl:
            authority.save_revoked_list(place)
        click.echo(f"There is one already: {place / CERTIFICATE}.\n")
    else:
        try:
            authority = Authority.create(permitted=permitted)
        except VaurienError as error:
            raise ConfigError(f"--permit: {error}") from None
        authority.save(place)
        click.echo(f"Made {place / CERTIFICATE}.\n")
    click.echo(TRUST.format(folder=place), nl=False)


def main(arguments: Sequence[str], variables: Mapping[str, str]) -> int:
    """Run with *arguments*, those behind ``ca``; returns the exit status."""
    return run_command(command, arguments, variables)

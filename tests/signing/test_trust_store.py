from __future__ import annotations

import asyncio
import pickle
from datetime import timedelta

import pytest
from asn1crypto import x509
from cryptography import x509 as pyca
from cryptography.hazmat.primitives.serialization import Encoding

from lienthong.errors import ConfigError
from lienthong.signing.verification.trust import TrustStore, find_chain, load_trust

from .workshop import NOW, credential_of


def chain(key, now=NOW):
    leaf, *others = (x509.Certificate.load(der) for der in credential_of(key, now).certificates)
    return leaf, others


def problem_of(trust, leaf, others, moment) -> str:
    return find_chain(trust, leaf, others, moment).problem


def test_pem_and_der_files_give_the_same_store(pki, tmp_path):
    certificate = pyca.load_pem_x509_certificate(pki.roots.read_bytes())
    der = tmp_path / "root.cer"
    der.write_bytes(certificate.public_bytes(Encoding.DER))
    assert load_trust([der]) == load_trust([pki.roots])


def test_a_pem_file_may_hold_several_certificates(pki, tmp_path):
    both = tmp_path / "bundle.pem"
    both.write_bytes(pki.roots.read_bytes() + b"\n# an authority of another tree\n" + pki.foreign_roots.read_bytes())
    assert len(load_trust([both]).roots) == 2


@pytest.mark.parametrize(
    "content", [b"", b"no certificate", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"]
)
def test_a_broken_file_is_named(tmp_path, content):
    broken = tmp_path / "root.pem"
    broken.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_trust([broken])
    assert (caught.value.code, caught.value.where) == ("verify.trust-file-broken", str(broken))


def test_a_missing_file_is_named(pki, tmp_path):
    with pytest.raises(ConfigError) as caught:
        load_trust([pki.roots], [tmp_path / "nowhere.pem"])
    assert caught.value.code == "verify.trust-file-missing"
    assert "nowhere.pem" in caught.value.text("vi")


def test_a_chain_to_a_root_has_no_problem(trust, agency):
    assert problem_of(trust, *chain(agency), NOW) == ""


def test_the_store_supplies_an_intermediate_that_the_document_lacks(trust, agency, pki):
    leaf, _ = chain(agency)
    assert problem_of(trust, leaf, [], NOW) == ""
    assert problem_of(load_trust([pki.roots]), leaf, [], NOW) == "unknown-issuer"


def test_an_intermediate_alone_is_not_believed(pki, agency):
    assert problem_of(TrustStore(roots=(), intermediates=load_trust([pki.intermediates]).roots), *chain(agency), NOW)


def test_the_documents_own_root_is_not_believed(trust, pki):
    assert problem_of(trust, *chain(pki.foreign), NOW) == "unknown-issuer"


def test_time_matters_after_an_earlier_good_answer(trust, agency):
    leaf, others = chain(agency)
    assert problem_of(trust, leaf, others, NOW) == ""
    assert problem_of(trust, leaf, others, NOW + timedelta(days=400)) == "certificate-expired"
    assert problem_of(trust, leaf, others, NOW - timedelta(days=60)) == "certificate-not-yet-valid"
    assert problem_of(trust, leaf, others, NOW) == ""


def test_a_changed_certificate_breaks_the_chain(trust, agency):
    leaf, others = chain(agency)
    forged = x509.Certificate.load(leaf.dump()[:-1] + bytes([leaf.dump()[-1] ^ 1]))
    assert problem_of(trust, forged, others, NOW) == "chain-broken"


def test_it_works_where_an_event_loop_runs(trust, agency):
    async def inside() -> str:
        return problem_of(trust, *chain(agency), NOW + timedelta(days=1))

    assert asyncio.run(inside()) == ""


def test_a_store_may_cross_to_another_process(trust):
    assert pickle.loads(pickle.dumps(trust)) == trust

//! HTTPS: the certificate in force, from files that are looked at again or from an authority that is asked again (`acme`), so that
//! nobody need restart the server.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Cursor};
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use anyhow::{Context, ensure};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use crate::acme::Acme;
use crate::config::Config;

/// The certificate in force and where it comes from.
pub struct Tls {
    current: Arc<Current>,
    source: Source,
}

enum Source {
    Files(Files),
    Authority(Box<Acme>),
}

/// `--tls-cert` and `--tls-key`.
struct Files {
    paths: [PathBuf; 2],
    /// What the files held when they were last taken over.
    seen: [Vec<u8>; 2],
    every: Duration,
}

/// What handshakes present.
#[derive(Default)]
pub struct Current {
    /// Nothing until an authority has given the first one.
    certificate: RwLock<Option<Arc<CertifiedKey>>>,
    /// By name, what shows an authority that this server answers to it (RFC 8737).
    proofs: RwLock<HashMap<String, Arc<CertifiedKey>>>,
}

impl Tls {
    /// `None` without `--tls-cert` and `--acme-domain`.
    ///
    /// # Errors
    /// Files that cannot be read or written, or do not belong together; with the option's name.
    pub fn load(config: &Config) -> anyhow::Result<Option<Self>> {
        let current = Arc::new(Current::default());
        if !config.acme.domains.is_empty() {
            let acme = Acme::load(&config.acme, current.clone())?;
            let source = Source::Authority(Box::new(acme));
            return Ok(Some(Self { current, source }));
        }
        let (Some(certificate), Some(key)) = (&config.tls_cert, &config.tls_key) else {
            return Ok(None);
        };
        let paths = [certificate.clone(), key.clone()];
        let seen = read(&paths).context("--tls-cert, --tls-key")?;
        let parsed = parse(&seen[0], &seen[1]).context("--tls-cert, --tls-key")?;
        current.present(parsed);
        let source = Source::Files(Files {
            paths,
            seen,
            every: config.tls_reload,
        });
        Ok(Some(Self { current, source }))
    }

    pub fn acceptor(&self) -> TlsAcceptor {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("ring has what the versions need")
            .with_no_client_auth()
            .with_cert_resolver(self.current.clone());
        config.alpn_protocols = vec![H2.to_vec(), b"http/1.1".to_vec()];
        if matches!(self.source, Source::Authority(_)) {
            config.alpn_protocols.push(PROOF.to_vec());
        }
        TlsAcceptor::from(Arc::new(config))
    }

    /// Sees to it that the certificate in force is a good one. Never ends.
    pub async fn keep_fresh(self) {
        match self.source {
            Source::Files(files) => files.keep_fresh(&self.current).await,
            Source::Authority(acme) => acme.keep_fresh().await,
        }
    }
}

impl Files {
    /// Looks at the files now and then. New ones that are no good change nothing: the old certificate stays, and a line says so.
    async fn keep_fresh(mut self, current: &Current) {
        let mut tick = tokio::time::interval(self.every);
        tick.tick().await;
        loop {
            tick.tick().await;
            match self.reload(current) {
                Ok(false) => {}
                Ok(true) => tracing::info!("the new certificate is in use"),
                Err(error) => {
                    tracing::warn!(error = format!("{error:#}"), "the old certificate stays")
                }
            }
        }
    }

    /// Whether there was something new.
    fn reload(&mut self, current: &Current) -> anyhow::Result<bool> {
        let found = read(&self.paths)?;
        if found == self.seen {
            return Ok(false);
        }
        current.present(parse(&found[0], &found[1])?);
        self.seen = found;
        Ok(true)
    }
}

impl Current {
    pub fn present(&self, certificate: CertifiedKey) {
        let mut current = self.certificate.write().expect("nobody panics with it");
        *current = Some(Arc::new(certificate));
    }

    /// What is in force.
    pub fn certificate(&self) -> Option<Arc<CertifiedKey>> {
        self.certificate
            .read()
            .expect("nobody panics with it")
            .clone()
    }

    /// Shows this to an authority that asks for that name, until [`Current::no_proofs`].
    pub fn prove(&self, name: String, proof: CertifiedKey) {
        let mut proofs = self.proofs.write().expect("nobody panics with it");
        proofs.insert(name, Arc::new(proof));
    }

    pub fn no_proofs(&self) {
        let mut proofs = self.proofs.write().expect("nobody panics with it");
        proofs.clear();
    }

    fn proof(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        let proofs = self.proofs.read().expect("nobody panics with it");
        proofs.get(&name.to_ascii_lowercase()).cloned()
    }
}

/// HTTP/2's name in ALPN (RFC 9113 §3.2).
pub const H2: &[u8] = b"h2";
/// What an authority speaks that asks for a proof, and nobody else (RFC 8737 §6.2).
pub const PROOF: &[u8] = b"acme-tls/1";

/// The one implementation of cryptography that TLS uses here.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// A file of certificates (PEM) of those who may have signed others'.
///
/// # Errors
/// If it cannot be read or has none.
pub fn authority(path: &Path) -> anyhow::Result<Vec<u8>> {
    let pem = std::fs::read(path).with_context(|| path.display().to_string())?;
    roots(Some(&pem)).with_context(|| path.display().to_string())?;
    Ok(pem)
}

/// Who may have signed the certificates of servers that we ask: these, or those whom browsers trust.
///
/// # Errors
/// If there is no certificate in the PEM.
pub fn roots(pem: Option<&[u8]>) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let Some(pem) = pem else {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        return Ok(roots);
    };
    for certificate in chain(pem)? {
        roots.add(certificate)?;
    }
    Ok(roots)
}

/// The certificates of a PEM, at least one.
fn chain(pem: &[u8]) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let chain = CertificateDer::pem_reader_iter(Cursor::new(pem))
        .collect::<Result<Vec<_>, _>>()
        .map_err(io::Error::other)
        .context("the certificates are no PEM")?;
    ensure!(!chain.is_empty(), "there is no certificate in the file");
    Ok(chain)
}

fn read(files: &[PathBuf; 2]) -> anyhow::Result<[Vec<u8>; 2]> {
    let read = |path: &PathBuf| -> anyhow::Result<Vec<u8>> {
        std::fs::read(path).with_context(|| path.display().to_string())
    };
    Ok([read(&files[0])?, read(&files[1])?])
}

/// A certificate with those above it, and its key.
pub fn parse(certificates: &[u8], key: &[u8]) -> anyhow::Result<CertifiedKey> {
    let chain = chain(certificates)?;
    let key = PrivateKeyDer::from_pem_reader(Cursor::new(key))
        .map_err(io::Error::other)
        .context("the key is no PEM")?;
    CertifiedKey::from_der(chain, key, &ring::default_provider())
        .context("certificate and key do not belong together")
}

impl ResolvesServerCert for Current {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let mut asks = hello.alpn().into_iter().flatten();
        // Who offers that one alone; a browser that would offer it beside others gets what browsers get.
        if asks.next() == Some(PROOF) && asks.next().is_none() {
            return self.proof(hello.server_name()?);
        }
        self.certificate()
    }
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a certificate and its key")
    }
}

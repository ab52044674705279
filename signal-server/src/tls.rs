//! HTTPS from certificate files, which are looked at again: whoever renews them need not restart the server.

use std::fmt;
use std::io::{self, Cursor};
use std::path::PathBuf;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use anyhow::{Context, ensure};
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;

use crate::config::Config;

/// The certificate in force and where it comes from.
pub struct Tls {
    files: [PathBuf; 2],
    /// What the files held when they were last taken over.
    seen: [Vec<u8>; 2],
    current: Arc<Current>,
    every: Duration,
}

/// What handshakes present.
struct Current(RwLock<Arc<CertifiedKey>>);

impl Tls {
    /// `None` without `--tls-cert`.
    ///
    /// # Errors
    /// Files that cannot be read, or do not belong together; with the option's name.
    pub fn load(config: &Config) -> anyhow::Result<Option<Self>> {
        let (Some(certificate), Some(key)) = (&config.tls_cert, &config.tls_key) else {
            return Ok(None);
        };
        let files = [certificate.clone(), key.clone()];
        let seen = read(&files).context("--tls-cert, --tls-key")?;
        let parsed = parse(&seen).context("--tls-cert, --tls-key")?;
        Ok(Some(Self {
            files,
            seen,
            current: Arc::new(Current(RwLock::new(Arc::new(parsed)))),
            every: config.tls_reload,
        }))
    }

    pub fn acceptor(&self) -> TlsAcceptor {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("ring has what the versions need")
            .with_no_client_auth()
            .with_cert_resolver(self.current.clone());
        config.alpn_protocols = vec![H2.to_vec(), b"http/1.1".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }

    /// Looks at the files now and then. New ones that are no good change nothing: the old certificate stays, and a line says so.
    pub async fn keep_fresh(mut self) {
        let mut tick = tokio::time::interval(self.every);
        tick.tick().await;
        loop {
            tick.tick().await;
            match self.reload() {
                Ok(false) => {}
                Ok(true) => tracing::info!("the new certificate is in use"),
                Err(error) => {
                    tracing::warn!(error = format!("{error:#}"), "the old certificate stays")
                }
            }
        }
    }

    /// Whether there was something new.
    fn reload(&mut self) -> anyhow::Result<bool> {
        let found = read(&self.files)?;
        if found == self.seen {
            return Ok(false);
        }
        let parsed = parse(&found)?;
        *self.current.0.write().expect("nobody panics with it") = Arc::new(parsed);
        self.seen = found;
        Ok(true)
    }
}

/// HTTP/2's name in ALPN (RFC 9113 §3.2).
pub const H2: &[u8] = b"h2";

/// The one implementation of cryptography that TLS uses here.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn read(files: &[PathBuf; 2]) -> anyhow::Result<[Vec<u8>; 2]> {
    let read = |path: &PathBuf| -> anyhow::Result<Vec<u8>> {
        std::fs::read(path).with_context(|| path.display().to_string())
    };
    Ok([read(&files[0])?, read(&files[1])?])
}

fn parse([certificates, key]: &[Vec<u8>; 2]) -> anyhow::Result<CertifiedKey> {
    let chain = CertificateDer::pem_reader_iter(Cursor::new(certificates))
        .collect::<Result<Vec<_>, _>>()
        .map_err(io::Error::other)
        .context("the certificates are no PEM")?;
    ensure!(!chain.is_empty(), "there is no certificate in the file");
    let key = PrivateKeyDer::from_pem_reader(Cursor::new(key))
        .map_err(io::Error::other)
        .context("the key is no PEM")?;
    CertifiedKey::from_der(chain, key, &ring::default_provider())
        .context("certificate and key do not belong together")
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().expect("nobody panics with it").clone())
    }
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a certificate and its key")
    }
}

//! A certificate from an authority that gives them to whoever answers to a name (ACME, RFC 8555), asked for again before it ends.
//!
//! The proof is a handshake at the very port that serves everything else (TLS-ALPN-01, RFC 8737), so there is no second port to open. Account and
//! certificate are kept in a folder: authorities give a name only a few certificates a week.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, BodyWrapper, BytesResponse, ChallengeType,
    Error, HttpClient, Identifier, NewAccount, NewOrder, Order, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::ClientConfig;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use sha1::{Digest, Sha1};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use crate::config;
use crate::tls::{self, Current};
use crate::validity::Validity;

/// The authority, what it is asked for, and where that is kept.
pub struct Acme {
    url: String,
    domains: Vec<String>,
    contact: Option<String>,
    folder: PathBuf,
    door: Door,
    current: Arc<Current>,
}

impl Acme {
    /// Takes over what was kept, if there is something.
    ///
    /// # Errors
    /// A folder that cannot be written to, a file of authorities that is none; with the option's name.
    pub fn load(config: &config::Acme, current: Arc<Current>) -> anyhow::Result<Self> {
        let folder = config.store.clone().context("--acme-store")?;
        open_folder(&folder).with_context(|| format!("--acme-store {}", folder.display()))?;
        let authority = config.ca.as_deref().map(tls::authority).transpose();
        let authority = authority.context("--acme-ca")?;
        let roots = tls::roots(authority.as_deref())?;
        let client = ClientConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()
            .expect("ring has what the versions need")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut domains = config.domains.clone();
        domains.sort();
        domains.dedup();
        let acme = Self {
            url: config.url.clone(),
            domains,
            contact: config.email.as_ref().map(|it| format!("mailto:{it}")),
            folder,
            door: Door(TlsConnector::from(Arc::new(client))),
            current,
        };
        match fs::read(acme.certificate_file()) {
            Ok(kept) => match tls::parse(&kept, &kept) {
                Ok(certificate) => acme.current.present(certificate),
                Err(error) => {
                    tracing::warn!(
                        error = format!("{error:#}"),
                        "the certificate that was kept is no good"
                    );
                }
            },
            Err(_) => tracing::info!("no certificate was kept: one is asked for"),
        }
        Ok(acme)
    }

    /// Asks for a certificate when there is none or the one in force has lived two thirds of its life. Never ends.
    pub async fn keep_fresh(self) {
        let mut pause = PAUSE_MIN;
        loop {
            let left = self.time_left();
            if left > Duration::ZERO {
                // Not all of it at once: the computer's clock may be set.
                sleep(left.min(LOOK)).await;
                continue;
            }
            match self.renew().await {
                Ok(()) if self.time_left() > Duration::ZERO => {
                    tracing::info!("the authority's new certificate is in use");
                    pause = PAUSE_MIN;
                }
                renewed => {
                    let over = || anyhow::anyhow!("it is over already: is this clock right?");
                    let error = renewed.err().unwrap_or_else(over);
                    let error = format!("{error:#}");
                    let next_s = pause.as_secs();
                    tracing::warn!(error, next_s, "no new certificate from the authority");
                    sleep(pause.mul_f64(1.0 + fastrand::f64() / 2.0)).await;
                    pause = (pause * PAUSE_GROWS).min(PAUSE_MAX);
                }
            }
        }
    }

    /// Until the next certificate is to be asked for.
    fn time_left(&self) -> Duration {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |it| it.as_secs());
        let current = self.current.certificate();
        let validity = current.and_then(|it| Validity::of(it.cert.first().map(|it| it.as_ref())?));
        let until = validity.map_or(0, |it| it.renew_unix_s());
        Duration::from_secs(until.saturating_sub(now))
    }

    async fn renew(&self) -> anyhow::Result<()> {
        let got = timeout(ORDER_MAX, self.order()).await;
        // Whatever became of it, nobody is shown proofs any more.
        self.current.no_proofs();
        let pem = got.context("the authority takes too long")??;
        let certificate = tls::parse(&pem, &pem)?;
        // Kept before anybody sees it: a server that stops in between asks for no second one. Where it cannot be, it serves all the same.
        let kept = keep(&self.certificate_file(), &pem);
        self.current.present(certificate);
        if let Err(error) = kept {
            tracing::warn!(
                error = format!("{error:#}"),
                "the new certificate cannot be kept"
            );
        }
        Ok(())
    }

    /// A new certificate with those above it and its key, in PEM.
    async fn order(&self) -> anyhow::Result<Vec<u8>> {
        let mut order = self.new_order().await?;
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            if authorization.status == AuthorizationStatus::Valid {
                continue;
            }
            let challenge = authorization.challenge(ChallengeType::TlsAlpn01);
            let mut challenge = challenge.context("the authority knows no tls-alpn-01")?;
            let name = challenge.identifier().to_string();
            let proof = proof(&name, challenge.key_authorization().digest().as_ref())?;
            self.current.prove(name, proof);
            challenge.set_ready().await?;
        }
        let patience = RetryPolicy::new().timeout(ORDER_MAX);
        if order.poll_ready(&patience).await? != OrderStatus::Ready {
            bail!("the authority refuses: {}", why(&mut order).await?);
        }
        let key = order.finalize().await?;
        let chain = order.poll_certificate(&patience).await?;
        Ok([chain.as_bytes(), b"\n", key.as_bytes()].concat())
    }

    async fn new_order(&self) -> anyhow::Result<Order> {
        let names: Vec<_> = self.domains.iter().cloned().map(Identifier::Dns).collect();
        let order = NewOrder::new(&names);
        match self.account().await?.new_order(&order).await {
            // It has forgotten us: an authority in a test does, and one that was set up anew.
            Err(Error::Api(problem)) if problem.r#type.as_deref() == Some(NO_ACCOUNT) => {
                fs::remove_file(self.account_file())?;
                Ok(self.account().await?.new_order(&order).await?)
            }
            other => Ok(other?),
        }
    }

    /// The account that was kept, or a new one.
    async fn account(&self) -> anyhow::Result<Account> {
        let builder = || Account::builder_with_http(Box::new(self.door.clone()));
        let kept = fs::read(self.account_file()).ok();
        let kept = kept.and_then(|it| serde_json::from_slice::<AccountCredentials>(&it).ok());
        if let Some(credentials) = kept {
            return Ok(builder().from_credentials(credentials).await?);
        }
        let contact: Vec<&str> = self.contact.iter().map(String::as_str).collect();
        let new = NewAccount {
            contact: &contact,
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let (account, credentials) = builder().create(&new, self.url.clone(), None).await?;
        keep(&self.account_file(), &serde_json::to_vec(&credentials)?)
            .context("the account cannot be kept")?;
        Ok(account)
    }

    /// Of this authority: another one knows nothing of it.
    fn account_file(&self) -> PathBuf {
        self.file("account", &[&self.url], "json")
    }

    /// Of this authority and these names: for others another one is asked for.
    fn certificate_file(&self) -> PathBuf {
        let mut words = vec![self.url.as_str()];
        words.extend(self.domains.iter().map(String::as_str));
        self.file("certificate", &words, "pem")
    }

    fn file(&self, what: &str, words: &[&str], kind: &str) -> PathBuf {
        let hash = Sha1::digest(words.join("\n"));
        let short: String = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        self.folder.join(format!("{what}-{short}.{kind}"))
    }
}

/// What the authority found wrong with our answers.
async fn why(order: &mut Order) -> anyhow::Result<String> {
    let mut reasons = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        let state = authorization.refresh().await?;
        let errors = state.challenges.iter().filter_map(|it| it.error.as_ref());
        reasons.extend(errors.map(ToString::to_string));
    }
    Ok(reasons.join("; "))
}

/// A certificate that nobody signed, with the digest that only the holder of the account can make (RFC 8737 §3).
fn proof(name: &str, digest: &[u8]) -> anyhow::Result<CertifiedKey> {
    let mut params = CertificateParams::new([name.to_owned()])?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    // Not checked against its key as others are: the extension is a critical one that nobody but authorities knows.
    let signing = any_supported_type(&PrivateKeyDer::Pkcs8(key.serialize_der().into()))?;
    Ok(CertifiedKey::new(vec![certificate.der().clone()], signing))
}

/// Requests to the authority: one connection each, there are a dozen every two months.
#[derive(Clone)]
struct Door(TlsConnector);

type Answer = Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>>;

impl HttpClient for Door {
    fn request(&self, request: Request<BodyWrapper<Bytes>>) -> Answer {
        let connector = self.0.clone();
        Box::pin(async move {
            let asked = timeout(REQUEST_MAX, ask(connector, request)).await;
            let answer = asked.context("no answer").and_then(|it| it);
            answer.map_err(|error| Error::Other(format!("{error:#}").into()))
        })
    }
}

async fn ask(
    connector: TlsConnector,
    mut request: Request<BodyWrapper<Bytes>>,
) -> anyhow::Result<BytesResponse> {
    let uri = request.uri().clone();
    let authority = uri.authority().context("a URL without a host")?;
    // Whatever the authority names, it is asked over TLS.
    let port = authority.port_u16().unwrap_or(443);
    let host = authority.host().trim_matches(['[', ']']).to_owned();
    let path = uri.path_and_query().map_or("/", |it| it.as_str());
    *request.uri_mut() = path.parse::<Uri>()?;
    let named = HeaderValue::from_str(authority.as_str())?;
    request.headers_mut().insert(HOST, named);
    let stream = TcpStream::connect((host.as_str(), port)).await;
    let stream = stream.with_context(|| format!("{host}:{port}"))?;
    let stream = connector.connect(ServerName::try_from(host)?, stream).await;
    let stream = TokioIo::new(stream.context("TLS")?);
    let (mut sender, connection) = http1::handshake(stream).await?;
    let connection = tokio::spawn(connection);
    let answer = async {
        let (parts, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, ANSWER_MAX).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!(error))?.to_bytes();
        Ok(BytesResponse {
            parts,
            body: Box::new(body),
        })
    };
    let answer = answer.await;
    connection.abort();
    answer
}

/// Made if it is not there, for us alone; fails where nothing can be written.
fn open_folder(folder: &Path) -> anyhow::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)?;
    keep(&folder.join("writable"), b"")?;
    Ok(fs::remove_file(folder.join("writable"))?)
}

/// Writes a file that only we may read, whole or not at all.
fn keep(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let new = path.with_extension("new");
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(fs::rename(&new, path)?)
}

/// RFC 8555 §6.7.
const NO_ACCOUNT: &str = "urn:ietf:params:acme:error:accountDoesNotExist";
/// How long the clock is trusted.
const LOOK: Duration = Duration::from_secs(3600);
/// After a failure: what was wrong for a moment costs seconds. Let's Encrypt allows five failed proofs an hour, and six tries with pauses of
/// 5 s, 40 s, 5 and 43 minutes and six hours take longer.
const PAUSE_MIN: Duration = Duration::from_secs(5);
const PAUSE_GROWS: u32 = 8;
const PAUSE_MAX: Duration = Duration::from_secs(6 * 3600);
/// For one certificate. Authorities ask back from several places.
const ORDER_MAX: Duration = Duration::from_secs(300);
const REQUEST_MAX: Duration = Duration::from_secs(30);
/// A chain of certificates is some KB.
const ANSWER_MAX: usize = 256 * 1024;

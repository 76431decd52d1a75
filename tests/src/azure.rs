//! The one request to Azure that no client here makes: a container is there before anything is in it.

use std::io::{Read, Write};
use std::net::TcpStream;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use k8s_openapi::jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::{Error, Result};

/// The account of every Azurite, with its key, as its documentation has them.
pub(crate) const ACCOUNT: (&str, &str) = (
    "devstoreaccount1",
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
);
const VERSION: &str = "2023-11-03";
/// Bytes of a block of SHA-256.
const BLOCK: usize = 64;

/// Creates a container, signed with the account's key ("Authorize with Shared Key").
pub(crate) async fn create_container(address: &str, name: &str) -> Result<()> {
    let refused = |reason: String| Error::Unmet(format!("Azurite creates no container: {reason}"));
    let date = Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let account = ACCOUNT.0;
    let signed = format!(
        "PUT{}x-ms-date:{date}\nx-ms-version:{VERSION}\n/{account}/{account}/{name}\nrestype:container",
        "\n".repeat(12)
    );
    let key = BASE64_STANDARD
        .decode(ACCOUNT.1)
        .map_err(|error| refused(error.to_string()))?;
    let signature = BASE64_STANDARD.encode(hmac(&key, signed.as_bytes()));
    let request = format!(
        "PUT /{account}/{name}?restype=container HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Content-Length: 0\r\nx-ms-date: {date}\r\nx-ms-version: {VERSION}\r\n\
         Authorization: SharedKey {account}:{signature}\r\n\r\n"
    );
    let to = address.to_owned();
    let asked = tokio::task::spawn_blocking(move || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(to)?;
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    });
    let answer = asked.await.map_err(|error| refused(error.to_string()))?;
    let answer = answer.map_err(|error| refused(error.to_string()))?;
    match answer.starts_with("HTTP/1.1 201") {
        true => Ok(()),
        false => Err(refused(answer)),
    }
}

/// HMAC with SHA-256 (RFC 2104).
fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut block = [0; BLOCK];
    block[..key.len().min(BLOCK)].copy_from_slice(&key[..key.len().min(BLOCK)]);
    let pad = |with: u8| block.map(|byte| byte ^ with);
    let inner = Sha256::new()
        .chain_update(pad(0x36))
        .chain_update(text)
        .finalize();
    Sha256::new()
        .chain_update(pad(0x5c))
        .chain_update(inner)
        .finalize()
        .to_vec()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_example_of_rfc_4231_is_signed_as_it_says() {
        let signed = super::hmac(b"Jefe", b"what do ya want for nothing?");
        assert_eq!(signed[..4], [0x5b, 0xdc, 0xc1, 0x46]);
    }
}

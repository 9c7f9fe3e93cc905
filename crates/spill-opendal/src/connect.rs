//! A service by its address.

use std::sync::Once;

use opendal::{Operator, OperatorUri};

use crate::error::OpendalError;

/// An operator for an address such as `redis://user:password@host:6379/0`, `rediss://..` with TLS, or
/// `s3://bucket/path?region=eu-central-1&endpoint=http://host:9000`.
///
/// The query has the service's settings by OpenDAL's names; S3 takes what is missing from the environment (`AWS_ACCESS_KEY_ID`, `AWS_REGION`,
/// `AWS_ENDPOINT_URL` and so on). Makes no call. The features `redis` and `s3` say which services there are, beside `memory://`.
///
/// The first call in a process makes `ring` the provider of TLS, unless the program chose another.
///
/// # Errors
/// [`OpendalError::Address`]; it never contains a password.
pub fn connect(address: &str) -> Result<Operator, OpendalError> {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // An error says that the program has one.
        #[cfg(feature = "tls")]
        let _ = rustls::crypto::ring::default_provider().install_default();
        opendal::init_default_registry();
        #[cfg(feature = "s3")]
        install_http();
    });
    let wrong = |error: opendal::Error| OpendalError::Address(error.to_string());
    Operator::from_uri(parse(address)?).map_err(wrong)
}

/// The client that OpenDAL would make itself panics on a machine without certificates of authorities.
#[cfg(feature = "s3")]
fn install_http() {
    use opendal_http_transport_reqwest::ReqwestTransport;

    let client = reqwest::Client::builder().build();
    // Then it trusts none, and `http://` still works.
    let client = client.or_else(|_| reqwest::Client::builder().tls_certs_only([]).build());
    match client {
        Ok(client) => opendal::HttpTransporter::install_default(ReqwestTransport::new(client)),
        Err(error) => tracing::error!(%error, "there is no client for HTTP"),
    }
}

fn parse(address: &str) -> Result<OperatorUri, OpendalError> {
    let wrong = |text: &str| OpendalError::Address(text.to_owned());
    let (scheme, rest) = address.split_once("://").ok_or_else(|| {
        wrong("it has no scheme; write `redis://host:port/db` or `s3://bucket/path`")
    })?;
    let base = match scheme {
        "rediss" | "valkey" | "valkeys" => format!("redis://{rest}"),
        _ => address.to_owned(),
    };
    let new = |options: Vec<(String, String)>| {
        OperatorUri::new(&base, options).map_err(|_| wrong("it is no URI; is the port a number?"))
    };
    let uri = new(Vec::new())?;
    let mut options = Vec::new();
    if matches!(scheme, "rediss" | "valkeys") {
        let authority = uri.authority().ok_or_else(|| wrong("it has no host"))?;
        options.push(("endpoint".to_owned(), format!("rediss://{authority}")));
    }
    let users = [("username", uri.username()), ("password", uri.password())];
    for (name, value) in users.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        if uri.scheme() != "redis" {
            return Err(wrong(
                "a user in front of the host is for Redis; S3 has the setting access_key_id",
            ));
        }
        let value = percent_encoding::percent_decode_str(value).decode_utf8();
        let value = value.map_err(|_| wrong("user or password is no UTF-8"))?;
        options.push((name.to_owned(), value.into_owned()));
    }
    if uri.scheme() == "s3" && uri.name().is_none() {
        return Err(wrong("it has no bucket; write `s3://bucket/path`"));
    }
    new(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_apart() {
        let uri = parse("redis://ann:p%40ss%2F@host:1234/2").expect("right");
        assert_eq!(
            (uri.scheme(), uri.authority(), uri.root()),
            ("redis", Some("host:1234"), Some("2"))
        );
        assert_eq!((uri.option("username"), uri.option("password")), (Some("ann"), Some("p@ss/")));
        let uri = parse("rediss://host").expect("right");
        assert_eq!((uri.scheme(), uri.option("endpoint")), ("redis", Some("rediss://host")));
        let uri = parse("s3://bucket/a/b?region=x&endpoint=http://h:1").expect("right");
        assert_eq!((uri.name(), uri.root()), (Some("bucket"), Some("a/b")));
        assert_eq!((uri.option("region"), uri.option("endpoint")), (Some("x"), Some("http://h:1")));
    }

    #[test]
    fn a_wrong_address_is_an_error_without_its_password() {
        for wrong in [
            "",
            "redis",
            "host:6379",
            "redis://u:geheim@host:port",
            "gopher://u@h",
            "s3://",
            "s3://k:geheim@bucket",
            "nothing://x",
        ] {
            let error = connect(wrong).map(drop).expect_err(wrong).to_string();
            assert!(
                error.starts_with("the address cannot be used: ") && !error.contains("geheim"),
                "{error}"
            );
        }
        connect("memory://").expect("always there");
    }
}

//! TLS, SASL and ACLs.

mod acls;
mod credentials;
mod tls_errors;

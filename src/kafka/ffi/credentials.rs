//! Changes the password of a connected client.

use std::ffi::{CStr, CString};

use rdkafka::client::{Client, ClientContext};
use rdkafka_sys as sys;

/// Sets the user name and password for new connections; existing connections stay open.
///
/// # Errors
/// librdkafka's error text.
pub(in crate::kafka) fn set_sasl<C: ClientContext>(
    client: &Client<C>,
    username: &str,
    password: &str,
) -> Result<(), String> {
    let c_text = |text: &str| CString::new(text).map_err(|_| "a NUL character".to_owned());
    let (username, password) = (c_text(username)?, c_text(password)?);
    // SAFETY: the client lives; librdkafka copies both texts. We own the error and destroy it after its text is
    // copied.
    unsafe {
        let error = sys::rd_kafka_sasl_set_credentials(client.native_ptr(), username.as_ptr(), password.as_ptr());
        if error.is_null() {
            return Ok(());
        }
        let text = CStr::from_ptr(sys::rd_kafka_error_string(error)).to_string_lossy().into_owned();
        sys::rd_kafka_error_destroy(error);
        Err(text)
    }
}

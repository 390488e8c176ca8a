//! Replaces `template` in builds without the feature `templates`: every template is refused.

use super::{GenerateError, Generator, MessageBuffer, MessageContext};

/// A template, which cannot exist in this build.
#[derive(Clone, Debug)]
pub enum Template {}

impl Template {
    /// Refuses the template.
    ///
    /// # Errors
    /// Always.
    pub fn new(_text: &str, _key_field: Option<&str>, _seed: u64) -> Result<Self, &'static str> {
        Err("this build has no templates (feature \"templates\")")
    }

    pub(crate) fn has_key(&self) -> bool {
        match *self {}
    }
}

impl Generator for Template {
    fn generate(&mut self, _: &MessageContext, _: &mut MessageBuffer) -> Result<(), GenerateError> {
        match *self {}
    }

    fn clone_boxed(&self) -> Box<dyn Generator> {
        match *self {}
    }
}

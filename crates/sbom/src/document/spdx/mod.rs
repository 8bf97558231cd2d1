//! SPDX: 2.2 and 2.3 as JSON, YAML and tag-value, 3.0 as JSON-LD.
//!
//! The three spellings of SPDX 2 share one model ([`two`]); in each, packages and files are tied by `CONTAINS`, its
//! reverse `CONTAINED_BY`, or `hasFiles`.

pub(super) mod tag_value;
pub(super) mod three;
pub(super) mod two;
pub(super) mod yaml;

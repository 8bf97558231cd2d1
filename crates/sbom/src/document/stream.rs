//! Takes a document in field by field and entry by entry, so that what is held in memory is what is kept of it.
//!
//! Works for JSON and for YAML; serde knows no difference.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::{error::SbomError, json};

/// What an object's fields are taken into.
pub(super) trait Target<'a>: Sized {
    /// Fields that are looked at; each may occur once. Others are ignored.
    const FIELDS: &'static [&'static str];

    /// Takes the value of one of [`Target::FIELDS`].
    fn take<A: MapAccess<'a>>(&mut self, field: &'static str, map: &mut A) -> Result<(), A::Error>;

    /// Where an error lies that serde has no words for; reading stops then.
    fn refusal(&mut self) -> &mut Option<SbomError>;

    /// Stops reading with `error`.
    fn refuse<E: serde::de::Error>(&mut self, error: SbomError) -> E {
        *self.refusal() = Some(error);
        E::custom("refused")
    }
}

/// Reads a JSON text into what `new` makes. It is made twice if the text is wrong: the second reading finds the place.
pub(super) fn json<'a, T: Target<'a>>(text: &'a str, new: impl Fn() -> T) -> Result<T, SbomError> {
    let mut target = new();
    let mut reader = serde_json::Deserializer::from_str(text);
    let result = Object(&mut target).deserialize(&mut reader).and_then(|()| reader.end());
    match result {
        Ok(()) => Ok(target),
        Err(error) => {
            Err(target.refusal().take().unwrap_or_else(|| json::located_at(text, &error, Object(&mut new()))))
        }
    }
}

/// Reads an object into a target.
pub(super) struct Object<'t, T>(pub(super) &'t mut T);

impl<'de, T: Target<'de>> DeserializeSeed<'de> for Object<'_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, T: Target<'de>> Visitor<'de> for Object<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = 0_u32;
        while let Some(found) = map.next_key_seed(OneOf(T::FIELDS))? {
            let Some(index) = found else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let Some(field) = T::FIELDS.get(index) else { continue };
            if seen & (1 << index) != 0 {
                return Err(A::Error::duplicate_field(field));
            }
            seen |= 1 << index;
            self.0.take(field, &mut map)?;
        }
        Ok(())
    }
}

/// Index of a key among those looked at.
struct OneOf(&'static [&'static str]);

impl<'de> DeserializeSeed<'de> for OneOf {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for OneOf {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_str<E>(self, key: &str) -> Result<Option<usize>, E> {
        Ok(self.0.iter().position(|field| *field == key))
    }
}

/// A list that may be null. Each entry is read as an `E` and handed on.
pub(super) struct Each<'t, T, E> {
    target: &'t mut T,
    take: fn(&mut T, E) -> Result<(), SbomError>,
}

impl<'t, T, E> Each<'t, T, E> {
    pub(super) fn of(target: &'t mut T, take: fn(&mut T, E) -> Result<(), SbomError>) -> Self {
        Self { target, take }
    }
}

impl<'de, T: Target<'de>, E: Deserialize<'de>> DeserializeSeed<'de> for Each<'_, T, E> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de, T: Target<'de>, E: Deserialize<'de>> Visitor<'de> for Each<'_, T, E> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_none<X>(self) -> Result<(), X> {
        Ok(())
    }

    fn visit_unit<X>(self) -> Result<(), X> {
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        while let Some(entry) = sequence.next_element()? {
            if let Err(error) = (self.take)(self.target, entry) {
                return Err(self.target.refuse(error));
            }
        }
        Ok(())
    }
}

/// Text, borrowed from the document where it can be.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

//! CBOR as the format uses it: definite lengths, arrays whose items are numbered fields.

use minicbor::data::Type;
use minicbor::{Decoder, Encoder};

use super::{FormatError, Hash};

const VEC: &str = "writing to memory can't fail";

/// Appends canonical CBOR to a buffer.
#[derive(Debug)]
pub struct Writer {
    encoder: Encoder<Vec<u8>>,
}

impl Writer {
    pub(super) fn new() -> Self {
        Self { encoder: Encoder::new(Vec::new()) }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.encoder.into_writer()
    }

    pub(super) fn len(&self) -> usize {
        self.encoder.writer().len()
    }

    /// Takes what was written and starts over.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(self.encoder.writer_mut())
    }

    /// Appends CBOR that is encoded already.
    pub(super) fn raw(&mut self, encoded: &[u8]) {
        self.encoder.writer_mut().extend_from_slice(encoded);
    }

    pub(super) fn array(&mut self, len: usize) {
        self.encoder.array(len as u64).expect(VEC);
    }

    pub(super) fn map(&mut self, len: usize) {
        self.encoder.map(len as u64).expect(VEC);
    }

    pub(super) fn uint(&mut self, value: impl Into<u64>) {
        self.encoder.u64(value.into()).expect(VEC);
    }

    pub(super) fn int(&mut self, value: i64) {
        self.encoder.i64(value).expect(VEC);
    }

    pub(super) fn bytes(&mut self, value: &[u8]) {
        self.encoder.bytes(value).expect(VEC);
    }

    pub(super) fn text(&mut self, value: &str) {
        self.encoder.str(value).expect(VEC);
    }

    pub(super) fn null(&mut self) {
        self.encoder.null().expect(VEC);
    }
}

/// Reads CBOR, and says which field of which record is wrong.
#[derive(Debug)]
pub struct Reader<'a> {
    decoder: Decoder<'a>,
    record: &'static str,
}

impl<'a> Reader<'a> {
    pub(super) fn new(record: &'static str, bytes: &'a [u8]) -> Self {
        Self { decoder: Decoder::new(bytes), record }
    }

    /// Names the record that follows; hand what it answers to [`Reader::leave`].
    pub(super) fn enter(&mut self, record: &'static str) -> &'static str {
        std::mem::replace(&mut self.record, record)
    }

    pub(super) fn leave(&mut self, outer: &'static str) {
        self.record = outer;
    }

    pub(super) fn malformed(&self, field: &'static str) -> FormatError {
        FormatError::Malformed { record: self.record, field }
    }

    pub(super) fn invalid(&self, field: &'static str) -> FormatError {
        FormatError::Invalid { record: self.record, field }
    }

    /// The head of an array of exactly `len` numbered fields.
    pub(super) fn fields(&mut self, len: usize) -> Result<(), FormatError> {
        if self.array("fields", usize::MAX)? == len {
            Ok(())
        } else {
            Err(self.malformed("fields"))
        }
    }

    /// The head of an array of at most `max` items; never more than the bytes that are left.
    pub(super) fn array(&mut self, field: &'static str, max: usize) -> Result<usize, FormatError> {
        let len = self.decoder.array().ok().flatten();
        self.count(field, len, max)
    }

    /// The head of a map of at most `max` pairs; never more than the bytes that are left.
    pub(super) fn map(&mut self, field: &'static str, max: usize) -> Result<usize, FormatError> {
        let len = self.decoder.map().ok().flatten();
        self.count(field, len, max)
    }

    fn count(
        &self,
        field: &'static str,
        len: Option<u64>,
        max: usize,
    ) -> Result<usize, FormatError> {
        let len = len.ok_or_else(|| self.malformed(field))?;
        if len > max as u64 {
            return Err(FormatError::TooLarge { record: self.record, field, limit: max as u64 });
        }
        let left = self.decoder.input().len().saturating_sub(self.decoder.position());
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        if len > left { Err(self.malformed(field)) } else { Ok(len) }
    }

    pub(super) fn bytes(
        &mut self,
        field: &'static str,
        max: usize,
    ) -> Result<&'a [u8], FormatError> {
        let bytes = self.decoder.bytes().map_err(|_| self.malformed(field))?;
        if bytes.len() > max {
            return Err(FormatError::TooLarge { record: self.record, field, limit: max as u64 });
        }
        Ok(bytes)
    }

    pub(super) fn text(&mut self, field: &'static str, max: usize) -> Result<&'a str, FormatError> {
        let text = self.decoder.str().map_err(|_| self.malformed(field))?;
        if text.len() > max {
            return Err(FormatError::TooLarge { record: self.record, field, limit: max as u64 });
        }
        Ok(text)
    }

    pub(super) fn hash(&mut self, field: &'static str) -> Result<Hash, FormatError> {
        let bytes = self.bytes(field, 32)?;
        Ok(Hash(bytes.try_into().map_err(|_| self.malformed(field))?))
    }

    /// An unsigned number of at most `max`.
    pub(super) fn at_most(&mut self, field: &'static str, max: u64) -> Result<u64, FormatError> {
        let value = self.decoder.u64().map_err(|_| self.malformed(field))?;
        if value > max {
            return Err(FormatError::TooLarge { record: self.record, field, limit: max });
        }
        Ok(value)
    }

    pub(super) fn u64(&mut self, field: &'static str) -> Result<u64, FormatError> {
        self.at_most(field, u64::MAX)
    }

    pub(super) fn u32(&mut self, field: &'static str) -> Result<u32, FormatError> {
        self.at_most(field, u64::from(u32::MAX))?.try_into().map_err(|_| self.malformed(field))
    }

    pub(super) fn u8(&mut self, field: &'static str, max: u8) -> Result<u8, FormatError> {
        self.at_most(field, u64::from(max))?.try_into().map_err(|_| self.malformed(field))
    }

    pub(super) fn int(&mut self, field: &'static str) -> Result<i64, FormatError> {
        self.decoder.i64().map_err(|_| self.malformed(field))
    }

    /// Whether the next item is null; consumes it if so.
    pub(super) fn null(&mut self, field: &'static str) -> Result<bool, FormatError> {
        let is_null = self.peek(field)? == Type::Null;
        if is_null {
            self.decoder.null().map_err(|_| self.malformed(field))?;
        }
        Ok(is_null)
    }

    /// Whether the next item is an array, and not a number or a map.
    pub(super) fn is_array(&mut self, field: &'static str) -> Result<bool, FormatError> {
        Ok(self.peek(field)? == Type::Array)
    }

    fn peek(&mut self, field: &'static str) -> Result<Type, FormatError> {
        self.decoder.datatype().map_err(|_| self.malformed(field))
    }

    /// Nothing may follow the record.
    pub(super) fn end(&self) -> Result<(), FormatError> {
        if self.decoder.position() == self.decoder.input().len() {
            Ok(())
        } else {
            Err(self.malformed("end"))
        }
    }
}

//! One file of a [`super::faulty::FaultyDisk`]: what can be read, what is durable, and what lies between. Pure.

/// What a device writes whole or not at all.
pub(super) const SECTOR: usize = 512;

/// Something that was done to a file and not synced.
#[derive(Clone, Debug)]
enum Pending {
    Bytes(usize, Vec<u8>),
    Length(usize),
}

/// A file.
#[derive(Clone, Debug, Default)]
pub(super) struct Inode {
    /// What can be read.
    pub(super) contents: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Pending>,
}

impl Inode {
    /// A file that was synced.
    pub(super) fn durable(contents: Vec<u8>) -> Self {
        Self {
            durable: contents.clone(),
            contents,
            pending: Vec::new(),
        }
    }

    /// Writes, sector by sector.
    pub(super) fn write(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        if end > self.contents.len() && !bytes.is_empty() {
            self.set_length(end);
        }
        let mut at = offset;
        while at < end {
            let next = ((at / SECTOR + 1) * SECTOR).min(end);
            let piece = &bytes[at - offset..next - offset];
            self.contents[at..next].copy_from_slice(piece);
            self.pending.push(Pending::Bytes(at, piece.to_vec()));
            at = next;
        }
    }

    /// Cuts off, or makes longer with zeros.
    pub(super) fn set_length(&mut self, length: usize) {
        self.contents.resize(length, 0);
        self.pending.push(Pending::Length(length));
    }

    /// Makes durable what `keeps` says, and forgets the rest.
    pub(super) fn sync(&mut self, mut keeps: impl FnMut() -> bool) {
        for pending in std::mem::take(&mut self.pending) {
            if !keeps() {
                continue;
            }
            match pending {
                Pending::Length(length) => self.durable.resize(length, 0),
                Pending::Bytes(at, bytes) => {
                    // Beyond the end that was kept there is nothing to keep.
                    let end = self.durable.len().min(at + bytes.len());
                    if at < end {
                        self.durable[at..end].copy_from_slice(&bytes[..end - at]);
                    }
                }
            }
        }
    }

    /// Cannot make everything durable: forgets the bytes that `keeps` does not want. The length is not forgotten: it is
    /// the file system's own, and the next sync tries again.
    pub(super) fn fail_to_sync(&mut self, mut keeps: impl FnMut() -> bool) {
        let is_length = |pending: &Pending| matches!(pending, Pending::Length(_));
        let lengths = self.pending.iter().filter(|pending| is_length(pending));
        let lengths: Vec<Pending> = lengths.cloned().collect();
        self.sync(&mut keeps);
        self.pending = lengths;
    }

    /// The power is lost.
    pub(super) fn lose(&mut self, keeps: impl FnMut() -> bool) {
        self.sync(keeps);
        self.contents = self.durable.clone();
    }
}

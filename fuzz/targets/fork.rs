//! Evidence of forks, signed by whom it may concern.
#![no_main]

use arbitrary::Arbitrary;
use metanode::feed::Fork;
use metanode::types::{Hash, Incarnation, Stamp};
use metanode::wire::{Category, Course, FeedId, Header, Priority};
use metanode_fuzz::{author, network, signed};

#[derive(Arbitrary, Debug)]
struct Half {
    author: u8,
    signer: u8,
    topic: u8,
    incarnation: u8,
    sequence: u64,
    previous: Option<[u8; 32]>,
    course: u8,
    root: u8,
    count: u16,
    flip: Option<(u8, u8)>,
    cut: Option<u8>,
}

#[derive(Arbitrary, Debug)]
struct Evidence {
    first: Half,
    second: Half,
    /// The second follows the first.
    linked: bool,
}

impl Half {
    fn header(&self) -> Header {
        Header {
            course: [Course::Feed, Course::Feed, Course::Ephemeral, Course::Direct][usize::from(self.course) % 4],
            priority: Priority::Normal,
            network: network(),
            feed: FeedId {
                author: author(self.author % 2),
                incarnation: Incarnation((self.incarnation % 2).into()),
                topic: Category::ALL[usize::from(self.topic) % 2],
            },
            sequence: self.sequence,
            previous: self.previous.map_or(Hash::ZERO, Hash),
            clock: Stamp(1),
            count: u32::from(self.count),
            body_bytes: 1,
            root: Hash([self.root; 32]),
        }
    }

    fn bytes(&self, header: Header) -> Vec<u8> {
        let signer = if self.signer % 8 == 0 { 9 } else { self.author % 2 };
        let mut bytes = signed(header, signer).encode().to_vec();
        if let Some((at, bits)) = self.flip {
            bytes[usize::from(at) % 228] ^= bits;
        }
        bytes.truncate(self.cut.map_or(usize::MAX, usize::from));
        bytes
    }
}

libfuzzer_sys::fuzz_target!(|evidence: Evidence| {
    let one = evidence.first.header();
    let mut two = evidence.second.header();
    if evidence.linked {
        (two.sequence, two.previous, two.feed) = (one.sequence.wrapping_add(1), one.id(), one.feed);
    }
    let (a, b) = (evidence.first.bytes(one), evidence.second.bytes(two));
    let (straight, crossed) = (Fork::check(&a, &b, network()), Fork::check(&b, &a, network()));
    assert_eq!(straight.is_ok(), crossed.is_ok(), "who is named first makes no difference");
    if let Ok(fork) = straight {
        let (first, second) = fork.headers();
        assert_eq!(first.header.feed, second.header.feed);
        assert!(first.header.course == Course::Feed && second.header.course == Course::Feed);
        assert!(first.check(network()).is_ok() && second.check(network()).is_ok());
        assert_eq!(fork.sequence(), first.header.sequence.min(second.header.sequence));
        assert_ne!(first.header.id(), second.header.id());
        assert_ne!(second.header.previous, first.header.id(), "a link is no fork");
    }
});

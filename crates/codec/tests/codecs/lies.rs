//! Answers of a codec that cannot be: a page stays raw, an object is an error, and nothing panics or wraps.

use pagefold_codec::{
    CodecError, Encoded, Raw, TryCodecError, accept_len, checked_compress, checked_decompress,
    checked_metadata_bytes_max, checked_try_decompress, decode, encode,
};
use pagefold_testkit::liar::{HELD_BYTES, Liar, Lie};

/// One byte repeated, but not a repeated word: its length is no multiple of 8.
const PAGE: [u8; 4095] = [7; 4095];

#[test]
fn a_length_that_cannot_be_is_a_page_that_did_not_shrink() {
    for lie in Lie::ALL {
        let honest = !lie.is_about_compress();
        for room in [1, 100, 4095] {
            let len = checked_compress(&Liar(lie), &PAGE, &mut vec![0; room]);
            assert_eq!(len, honest.then_some(1), "{lie:?}, {room} bytes of room");
        }
        let mut scratch = vec![0; accept_len(PAGE.len())];
        let kept = encode(&Liar(lie), &PAGE, &mut scratch);
        assert_eq!(
            kept,
            if honest { Encoded::Compressed(&[7]) } else { Encoded::Raw(&PAGE) },
            "{lie:?}"
        );
    }
}

#[test]
fn a_length_that_can_be_is_taken_up_to_the_last_byte_of_room() {
    assert_eq!(checked_compress(&Raw, &PAGE, &mut [0; 4095]), Some(4095));
    assert_eq!(checked_compress(&Raw, &PAGE, &mut [0; 4096]), Some(4095));
    assert_eq!(checked_compress(&Raw, &PAGE, &mut [0; 4094]), None);
    assert_eq!(checked_compress(&Raw, &[], &mut []), Some(0), "nothing is nothing");
}

#[test]
fn another_length_than_the_pages_is_an_error_in_each_way_of_decoding() {
    for lie in Lie::ALL {
        let wrong = match lie {
            Lie::DecompressesShort => Some(4094),
            Lie::DecompressesBeyondDst => Some(4096),
            Lie::DecompressesToMaximum => Some(usize::MAX),
            Lie::DecompressesToNothing => Some(0),
            _ => None,
        };
        assert_eq!(wrong.is_some(), lie.is_about_decompress());
        let wrong = wrong.map(|decoded| CodecError::WrongLength { expected: 4095, decoded });
        let expected = wrong.map_or(Ok(()), Err);
        let mut page = [0; 4095];
        assert_eq!(decode(&Liar(lie), Encoded::Compressed(&[7]), &mut page), expected, "{lie:?}");
        assert_eq!(checked_decompress(&Liar(lie), &[7], &mut page), expected, "{lie:?}");
        assert_eq!(
            checked_try_decompress(&Liar(lie), &[7], &mut page),
            expected.map_err(TryCodecError::Codec),
            "{lie:?}"
        );
    }
    assert!(checked_decompress(&Liar(Lie::HoldsMaximum), &[], &mut [0; 9]).is_err());
}

#[test]
fn memory_that_no_process_has_is_none() {
    for lie in Lie::ALL {
        let expected = match lie {
            Lie::HoldsMaximum | Lie::MayHoldMaximum => None,
            _ => Some(HELD_BYTES),
        };
        assert_eq!(checked_metadata_bytes_max(&Liar(lie), 4096), expected, "{lie:?}");
    }
}

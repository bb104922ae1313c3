//! Sequence parameter set → size, frame rate, profile and level: for people to look at, nothing is muxed by it.
//!
//! Sources: H.264 §7.3.2.1.1 (SPS), §7.4.2.1.1 (cropping), §E.1.1 (VUI). HRD parameters and what follows are not read.

use super::bits::BitReader;

/// Bytes of an SPS that are looked at. Real ones have 20 to 60; scaling lists can make it 300.
const LOOKED_AT_BYTES_MAX: usize = 512;

/// What an SPS says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Sps {
    /// `profile_idc`: 66 Baseline, 77 Main, 100 High.
    pub profile: u8,
    /// `level_idc`: ten times the level.
    pub level: u8,
    /// Width after cropping, in luma samples.
    pub width: u32,
    /// Height after cropping, in luma samples.
    pub height: u32,
    /// Frames in 1,000 seconds; `None`: the VUI does not say.
    pub frames_per_1000_s: Option<u32>,
}

impl Sps {
    /// Reads a NAL unit of type 7, its header byte included; `None`: it is cut short or out of range.
    pub fn parse(nal: &[u8]) -> Option<Self> {
        let rbsp = unescape(nal);
        let mut bits = BitReader::new(&rbsp);
        bits.bits(8)?;
        let [profile, _, level] = [bits.bits(8)?, bits.bits(8)?, bits.bits(8)?];
        bits.unsigned_exp_golomb()?; // seq_parameter_set_id
        let (chroma_format, is_separate_planes) = chroma(&mut bits, profile)?;
        picture_order(&mut bits)?;
        bits.unsigned_exp_golomb()?; // max_num_ref_frames
        bits.flag()?; // gaps_in_frame_num_value_allowed_flag
        let width_mbs = bits.unsigned_exp_golomb()?.checked_add(1)?;
        let height_map_units = bits.unsigned_exp_golomb()?.checked_add(1)?;
        // A map unit of an interlaced stream is two macroblocks high.
        let fields = 2 - bits.bits(1)?;
        if fields == 2 {
            bits.flag()?; // mb_adaptive_frame_field_flag
        }
        bits.flag()?; // direct_8x8_inference_flag
        let (unit_x, unit_y) = match chroma_format {
            1 if !is_separate_planes => (2, 2),
            2 if !is_separate_planes => (2, 1),
            _ => (1, 1),
        };
        let mut crop = [0; 4];
        if bits.flag()? {
            for side in &mut crop {
                *side = bits.unsigned_exp_golomb()?;
            }
        }
        let [left, right, top, bottom] = crop;
        let width = cropped(width_mbs.checked_mul(16)?, left, right, unit_x)?;
        let height =
            cropped(height_map_units.checked_mul(16 * fields)?, top, bottom, unit_y * fields)?;
        Some(Self {
            profile: profile.try_into().ok()?,
            level: level.try_into().ok()?,
            width,
            height,
            frames_per_1000_s: if bits.flag()? { frame_rate(&mut bits) } else { None },
        })
    }
}

/// Removes the emulation prevention bytes (H.264 §7.4.1).
fn unescape(nal: &[u8]) -> heapless::Vec<u8, LOOKED_AT_BYTES_MAX> {
    let mut zeros = 0;
    let mut rbsp = heapless::Vec::new();
    for &byte in nal {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
        } else if rbsp.push(byte).is_ok() {
            zeros = if byte == 0 { zeros + 1 } else { 0 };
        } else {
            break;
        }
    }
    rbsp
}

/// `chroma_format_idc` and `separate_colour_plane_flag`, and past the scaling lists.
fn chroma(bits: &mut BitReader<'_>, profile: u32) -> Option<(u32, bool)> {
    if ![44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244].contains(&profile) {
        return Some((1, false));
    }
    let format = bits.unsigned_exp_golomb()?;
    let is_separate_planes = format == 3 && bits.flag()?;
    bits.unsigned_exp_golomb()?; // bit_depth_luma_minus8
    bits.unsigned_exp_golomb()?; // bit_depth_chroma_minus8
    bits.flag()?; // qpprime_y_zero_transform_bypass_flag
    if bits.flag()? {
        for list in 0..if format == 3 { 12 } else { 8 } {
            if bits.flag()? {
                skip_scaling_list(bits, if list < 6 { 16 } else { 64 })?;
            }
        }
    }
    Some((format, is_separate_planes))
}

/// H.264 §7.3.2.1.1.1.
fn skip_scaling_list(bits: &mut BitReader<'_>, entries: u32) -> Option<()> {
    let mut scale = 8;
    for _ in 0..entries {
        scale = (scale + bits.signed_exp_golomb()?.rem_euclid(256)) % 256;
        if scale == 0 {
            break;
        }
    }
    Some(())
}

/// Past the fields of frame numbering and picture order.
fn picture_order(bits: &mut BitReader<'_>) -> Option<()> {
    bits.unsigned_exp_golomb()?; // log2_max_frame_num_minus4
    match bits.unsigned_exp_golomb()? {
        0 => _ = bits.unsigned_exp_golomb()?, // log2_max_pic_order_cnt_lsb_minus4
        1 => {
            bits.flag()?; // delta_pic_order_always_zero_flag
            bits.signed_exp_golomb()?; // offset_for_non_ref_pic
            bits.signed_exp_golomb()?; // offset_for_top_to_bottom_field
            for _ in 0..bits.unsigned_exp_golomb()? {
                bits.signed_exp_golomb()?; // offset_for_ref_frame
            }
        }
        _ => {}
    }
    Some(())
}

fn cropped(size: u32, before: u32, after: u32, unit: u32) -> Option<u32> {
    size.checked_sub(before.checked_add(after)?.checked_mul(unit)?).filter(|size| *size > 0)
}

/// Frames in 1,000 seconds, by the timing fields of the VUI (H.264 §E.1.1, §E.2.1: two ticks are a frame).
fn frame_rate(bits: &mut BitReader<'_>) -> Option<u32> {
    const EXTENDED_SAR: u32 = 255;
    if bits.flag()? && bits.bits(8)? == EXTENDED_SAR {
        bits.bits(32)?; // sar_width, sar_height
    }
    if bits.flag()? {
        bits.flag()?; // overscan_appropriate_flag
    }
    if bits.flag()? {
        bits.bits(4)?; // video_format, video_full_range_flag
        if bits.flag()? {
            bits.bits(24)?; // colour_primaries, transfer_characteristics, matrix_coefficients
        }
    }
    if bits.flag()? {
        bits.unsigned_exp_golomb()?; // chroma_sample_loc_type_top_field
        bits.unsigned_exp_golomb()?; // chroma_sample_loc_type_bottom_field
    }
    if !bits.flag()? {
        return None;
    }
    let ticks = u64::from(bits.bits(32)?);
    let ticks_per_s = u64::from(bits.bits(32)?);
    let rate = (ticks_per_s * 1000).checked_div(2 * ticks)?;
    // Some cameras fill the fields with what they like.
    u32::try_from(rate).ok().filter(|rate| (1..=1_000_000).contains(rate))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
            .collect()
    }

    #[test]
    fn sps_written_by_x264() {
        let table = [
            (
                "67640028acd940780227e5c044000003000400000300c83c60c658",
                (100, 40, 1920, 1080, 25_000),
            ),
            ("6742c01ed900a02ff9701100000303e90000ea600f162e48", (66, 30, 640, 360, 29_970)),
            ("674d400ceca0a8cf11360220000003002000000303c1e28532c0", (77, 12, 322, 182, 15_000)),
            // Interlaced, 4:2:2.
            ("677a001ebcd940b424d8088000000300800000190f8a14cb", (122, 30, 720, 576, 25_000)),
        ];
        for (sps, (profile, level, width, height, rate)) in table {
            let expected = Sps { profile, level, width, height, frames_per_1000_s: Some(rate) };
            assert_eq!(Sps::parse(&hex(sps)), Some(expected), "{sps}");
        }
    }

    #[test]
    fn a_cut_off_sps_is_no_sps() {
        let whole = hex("67640028acd940780227e5c044000003000400000300c83c60c658");
        assert!((0..9).all(|bytes| Sps::parse(&whole[..bytes]).is_none()));
    }

    #[test]
    fn no_bytes_make_it_panic() {
        // Every byte of a real SPS in turn takes every value: all fields see their extremes.
        let whole = hex("677a001ebcd940b424d8088000000300800000190f8a14cb");
        for at in 0..whole.len() {
            for value in 0..=255 {
                let mut broken = whole.clone();
                broken[at] = value;
                if let Some(sps) = Sps::parse(&broken) {
                    assert!(sps.width > 0 && sps.height > 0);
                }
            }
        }
    }
}

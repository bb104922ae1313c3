//! What a client asks of a low-latency playlist → whether it has to wait (draft-pantos-hls-rfc8216bis §6.2.5.2).
//!
//! The parameters are no part of any signature, and open nothing: they say when an answer is wanted, not what.

use crate::{
    channel::{Channel, window::Front},
    http::error::OssError,
    limits::HOLD_PERCENT_OF_TARGET,
    query::Query,
    units::Now,
};

/// How long a request for the live playlist may have to wait for what it asks for, in milliseconds from its coming.
/// `None`: it is there, or nothing is asked for, or the playlist lists no parts.
pub(super) fn wait_ms(
    query: &Query<'_>,
    channel: &Channel,
    now: Now,
) -> Result<Option<u64>, OssError> {
    let (wanted, part) = (number(query, "_HLS_msn")?, number(query, "_HLS_part")?);
    let Some(wanted) = wanted else {
        return match part {
            Some(part) => Err(invalid("_HLS_part", &part.to_string(), "needs _HLS_msn")),
            None => Ok(None),
        };
    };
    let Some(front) = channel.front(now) else { return Ok(None) };
    if wanted > front.sequence + 2 {
        let message = "is more than two segments ahead of the playlist";
        return Err(invalid("_HLS_msn", &wanted.to_string(), message));
    }
    Ok((!is_there(wanted, part, &front)).then(|| hold_ms(front.target_duration_s)))
}

/// Whether the playlist has the segment `wanted`, or that part of it.
fn is_there(wanted: u64, part: Option<u64>, front: &Front) -> bool {
    let (parts, open_parts) = (front.parts as u64, front.open_parts as u64);
    match part {
        _ if wanted < front.sequence => true,
        None => wanted == front.sequence,
        // Behind the last part of a segment comes the first of the next one.
        Some(part) if wanted == front.sequence => part < parts || parts == 0 || open_parts > 0,
        Some(part) => wanted == front.sequence + 1 && part < open_parts,
    }
}

/// How long a request for a part that was hinted at may have to wait, in milliseconds from its coming.
pub(super) fn hint_wait_ms(channel: &Channel) -> u64 {
    let target = channel.recorder().and_then(crate::channel::recorder::Recorder::target_duration_s);
    hold_ms(target.unwrap_or(1))
}

/// hls.js gives a playlist up after 80 % of a target duration: it is answered before that, as it is.
fn hold_ms(target_duration_s: u16) -> u64 {
    u64::from(target_duration_s) * 10 * HOLD_PERCENT_OF_TARGET
}

fn number(query: &Query<'_>, name: &'static str) -> Result<Option<u64>, OssError> {
    let Some(text) = query.first(name) else { return Ok(None) };
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = is_number.then(|| text.parse().ok()).flatten();
    number.map(Some).ok_or_else(|| invalid(name, text, "must be a whole number"))
}

fn invalid(name: &'static str, value: &str, why: &str) -> OssError {
    OssError::invalid_argument(name, value, format!("{name} {why}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_there_or_waited_for() {
        // Parts of segment 7 and of segment 8, which is being written; what is asked for; whether it is there.
        let table = [
            ((4, 2), 6, None, true),
            ((4, 2), 6, Some(9), true),
            ((4, 2), 7, None, true),
            ((4, 2), 7, Some(3), true),
            ((4, 2), 8, None, false),
            ((4, 2), 8, Some(1), true),
            ((4, 2), 8, Some(2), false),
            ((4, 2), 9, None, false),
            ((4, 2), 9, Some(0), false),
            // The part behind the last one is the first of the next segment.
            ((4, 1), 7, Some(4), true),
            ((4, 0), 7, Some(4), false),
            ((4, 0), 7, Some(3), true),
            ((4, 0), 8, Some(0), false),
            // A segment that is listed without parts has them all.
            ((0, 0), 7, Some(0), true),
        ];
        for ((parts, open_parts), wanted, part, expected) in table {
            let front = Front { sequence: 7, parts, open_parts, target_duration_s: 1 };
            assert_eq!(is_there(wanted, part, &front), expected, "{wanted} {part:?} {front:?}");
        }
    }
}

//! What a client asks of a low-latency playlist → whether it has to wait (draft-pantos-hls-rfc8216bis §6.2.5.2).
//!
//! The parameters are no part of any signature, and open nothing: they say when an answer is wanted, not what.

use crate::{
    channel::Channel, http::error::OssError, limits::HOLD_PERCENT_OF_TARGET, query::Query,
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
    let (parts, open_parts) = (front.parts as u64, front.open_parts as u64);
    let is_there = match part {
        _ if wanted < front.sequence => true,
        None => wanted == front.sequence,
        // Behind the last part of a segment comes the first of the next one.
        Some(part) if wanted == front.sequence => part < parts || parts == 0 || open_parts > 0,
        Some(part) => wanted == front.sequence + 1 && part < open_parts,
    };
    Ok((!is_there).then(|| hold_ms(front.target_duration_s)))
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

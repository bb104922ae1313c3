//! What is inside FLV tags: their headers, H.264 and AAC configurations, NAL units, and the camera's clock.
//!
//! ```text
//! VIDEODATA ─▶ flv ─▶ avc_config (sps)      AVCDecoderConfigurationRecord
//!                └──▶ h264                  access unit ─▶ Annex B
//! AUDIODATA ─▶ flv ─▶ aac                   AudioSpecificConfig ─▶ ADTS headers
//! timestamps ───────▶ timeline              wrapping milliseconds ─▶ 90 kHz
//! ```
//!
//! Nothing here knows RTMP, MPEG-TS or segments, and nothing decodes pictures or sound.

pub mod aac;
pub mod avc_config;
mod bits;
pub mod flv;
pub mod h264;
pub mod sps;
pub mod timeline;

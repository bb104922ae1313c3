/* librtmp_publish FILE URL: publishes an FLV file in real time as programs on librtmp do.
 * Prints librtmp's own log to stderr. Ends with 0 when the whole file was taken. */
#include <librtmp/log.h>
#include <librtmp/rtmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static unsigned number(const unsigned char *bytes, int count) {
    unsigned sum = 0;
    while (count--) sum = sum << 8 | *bytes++;
    return sum;
}

int main(int count, char **arguments) {
    if (count != 3) return 2;
    signal(SIGPIPE, SIG_IGN);
    FILE *file = fopen(arguments[1], "rb");
    RTMP *rtmp = RTMP_Alloc();
    RTMP_Init(rtmp);
    RTMP_LogSetLevel(RTMP_LOGWARNING);
    if (!file || !RTMP_SetupURL(rtmp, arguments[2])) return 2;
    RTMP_EnableWrite(rtmp);
    if (!RTMP_Connect(rtmp, NULL) || !RTMP_ConnectStream(rtmp, 0)) return 1;
    unsigned char tag[1 << 20];
    fseek(file, 9 + 4, SEEK_SET);
    struct timespec start, now;
    clock_gettime(CLOCK_MONOTONIC, &start);
    while (fread(tag, 1, 11, file) == 11) {
        unsigned bytes = number(tag + 1, 3), time_ms = number(tag + 4, 3) | (unsigned)tag[7] << 24;
        if (bytes + 15 > sizeof tag || fread(tag + 11, 1, bytes + 4, file) != bytes + 4) break;
        clock_gettime(CLOCK_MONOTONIC, &now);
        long early_ms = time_ms - (now.tv_sec - start.tv_sec) * 1000 - (now.tv_nsec - start.tv_nsec) / 1000000;
        if (early_ms > 0) usleep(early_ms * 1000);
        if (RTMP_Write(rtmp, (char *)tag, bytes + 15) <= 0) return 1;
    }
    RTMP_Close(rtmp);
    RTMP_Free(rtmp);
    return 0;
}

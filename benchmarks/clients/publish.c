/* The broker's own limit: publishes persistent, mandatory messages of a task's size on librabbitmq, each confirmed before
 * the next is written.
 *
 *     publish HOST PORT USER PASSWORD VHOST QUEUE QUEUE_TYPE COUNT
 *
 * Prints one line of JSON: the seconds and the processor seconds that COUNT messages took. */
#include <amqp.h>
#include <amqp_tcp_socket.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { CHANNEL = 1, BODY_SIZE = 300, HEADERS = 8, FRAME_MAX = 131072 };

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double processor_seconds(void)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static void fail(const char *what)
{
    fprintf(stderr, "publish: %s failed\n", what);
    exit(1);
}

static void expect_reply(amqp_connection_state_t connection, const char *what)
{
    if (amqp_get_rpc_reply(connection).reply_type != AMQP_RESPONSE_NORMAL)
        fail(what);
}

static void declare(amqp_connection_state_t connection, amqp_bytes_t queue, const char *type)
{
    amqp_table_entry_t entry;
    amqp_table_t arguments = {1, &entry};
    entry.key = amqp_cstring_bytes("x-queue-type");
    entry.value.kind = AMQP_FIELD_KIND_UTF8;
    entry.value.value.bytes = amqp_cstring_bytes(type);
    amqp_queue_declare(connection, CHANNEL, queue, 0, 1, 0, 0, arguments);
    expect_reply(connection, "queue.declare");
}

static void await_confirm(amqp_connection_state_t connection, uint64_t number)
{
    amqp_frame_t frame;
    for (;;) {
        amqp_maybe_release_buffers(connection);
        if (amqp_simple_wait_frame(connection, &frame) != AMQP_STATUS_OK)
            fail("waiting for a confirm");
        if (frame.frame_type != AMQP_FRAME_METHOD)
            continue;
        if (frame.payload.method.id != AMQP_BASIC_ACK_METHOD)
            fail("a publish");
        if (((amqp_basic_ack_t *)frame.payload.method.decoded)->delivery_tag >= number)
            return;
    }
}

int main(int argc, char **argv)
{
    static const char *names[HEADERS] = {"lang", "task", "id", "root_id", "argsrepr", "kwargsrepr", "origin", "group"};
    static const char *values[HEADERS] = {
        "py", "noop", "00000000-0000-4000-8000-000000000000", "00000000-0000-4000-8000-000000000000",
        "()", "{}", "gen1@bench", ""};
    if (argc != 9) {
        fprintf(stderr, "usage: publish HOST PORT USER PASSWORD VHOST QUEUE QUEUE_TYPE COUNT\n");
        return 2;
    }
    amqp_bytes_t queue = amqp_cstring_bytes(argv[6]);
    uint64_t count = strtoull(argv[8], NULL, 10);

    amqp_connection_state_t connection = amqp_new_connection();
    amqp_socket_t *socket = amqp_tcp_socket_new(connection);
    if (socket == NULL || amqp_socket_open(socket, argv[1], atoi(argv[2])) != AMQP_STATUS_OK)
        fail("connecting");
    if (amqp_login(connection, argv[5], 0, FRAME_MAX, 0, AMQP_SASL_METHOD_PLAIN, argv[3], argv[4]).reply_type !=
        AMQP_RESPONSE_NORMAL)
        fail("logging in");
    amqp_channel_open(connection, CHANNEL);
    expect_reply(connection, "channel.open");
    declare(connection, queue, argv[7]);
    amqp_confirm_select(connection, CHANNEL);
    expect_reply(connection, "confirm.select");

    char text[BODY_SIZE];
    memset(text, 'x', sizeof text);
    amqp_bytes_t body = {sizeof text, text};
    amqp_table_entry_t entries[HEADERS];
    for (int i = 0; i < HEADERS; i++) {
        entries[i].key = amqp_cstring_bytes(names[i]);
        entries[i].value.kind = AMQP_FIELD_KIND_UTF8;
        entries[i].value.value.bytes = amqp_cstring_bytes(values[i]);
    }
    amqp_basic_properties_t properties;
    memset(&properties, 0, sizeof properties);
    properties._flags = AMQP_BASIC_CONTENT_TYPE_FLAG | AMQP_BASIC_CONTENT_ENCODING_FLAG | AMQP_BASIC_HEADERS_FLAG |
                        AMQP_BASIC_DELIVERY_MODE_FLAG | AMQP_BASIC_CORRELATION_ID_FLAG;
    properties.content_type = amqp_cstring_bytes("application/json");
    properties.content_encoding = amqp_cstring_bytes("utf-8");
    properties.correlation_id = amqp_cstring_bytes(values[2]);
    properties.delivery_mode = 2;
    properties.headers.num_entries = HEADERS;
    properties.headers.entries = entries;

    double began = seconds(), processor = processor_seconds();
    for (uint64_t number = 1; number <= count; number++) {
        if (amqp_basic_publish(connection, CHANNEL, amqp_empty_bytes, queue, 1, 0, &properties, body) != AMQP_STATUS_OK)
            fail("writing a message");
        await_confirm(connection, number);
    }
    printf("{\"seconds\": %.6f, \"cpu\": %.6f, \"latencies\": null}\n", seconds() - began,
           processor_seconds() - processor);
    amqp_connection_close(connection, AMQP_REPLY_SUCCESS);
    amqp_destroy_connection(connection);
    return 0;
}

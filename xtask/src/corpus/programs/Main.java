// Builds a heap such as a Java service has, until SIZE bytes of it are live; then waits to be read.
//
// Usage: java Main.java SIZE SEED. Prints "ready PID" and ends when standard input does.

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.UUID;

public class Main {
    private static final String[] WORDS = (
        "account active amount archive average balance batch billing branch browser cache calendar category channel "
        + "charge client column comment commit company config contact content country created currency customer data "
        + "default delivery deposit detail device discount document domain draft email engine entry error event "
        + "failed feature field filter folder footer format gateway global group handler header health history hour "
        + "import index input invoice item label language layer level limit location locked login manager market "
        + "message method metric minute mobile model module month network notice number object offer option order")
        .split(" ");

    record Item(String sku, int quantity, double price) {}

    record Order(long number, UUID id, Instant created, boolean paid, List<Item> items) {}

    static final class Customer {
        private final long id;
        private final String name;
        private final String email;
        private final Map<String, Object> attributes = new HashMap<>();
        private final List<Order> orders = new ArrayList<>();

        Customer(long id, Random random) {
            this.id = id;
            this.name = word(random) + " " + word(random);
            this.email = word(random) + "." + random.nextInt(10_000) + "@example.com";
            attributes.put("id", id);
            attributes.put("active", random.nextBoolean());
            attributes.put("score", random.nextGaussian() * 100);
            attributes.put("visits", random.nextInt(1000));
            if (random.nextBoolean()) {
                attributes.put("note", sentence(random, 4 + random.nextInt(36)));
            }
            for (int count = random.nextInt(4); count > 0; count--) {
                orders.add(order(id * 10 + count, random));
            }
        }

        String email() {
            return email;
        }

        @Override
        public String toString() {
            return "{\"id\":" + id + ",\"name\":\"" + name + "\",\"attributes\":\"" + attributes + "\",\"orders\":\""
                + orders + "\"}";
        }
    }

    static String word(Random random) {
        double skewed = random.nextDouble();
        return WORDS[(int) (WORDS.length * skewed * skewed)];
    }

    static String sentence(Random random, int length) {
        StringBuilder text = new StringBuilder();
        for (int index = 0; index < length; index++) {
            text.append(index == 0 ? "" : " ").append(word(random));
        }
        return text.toString();
    }

    static Order order(long number, Random random) {
        List<Item> items = new ArrayList<>();
        for (int count = 1 + random.nextInt(4); count > 0; count--) {
            String sku = Long.toHexString(random.nextLong());
            items.add(new Item(sku, 1 + random.nextInt(9), random.nextInt(10_000) / 100.0));
        }
        Instant created = Instant.ofEpochSecond(1_735_689_600L + random.nextInt(31_536_000));
        return new Order(number, new UUID(random.nextLong(), random.nextLong()), created, random.nextInt(10) > 0, items);
    }

    static Map<String, Object> batch(int number, Random random) {
        Map<String, Customer> customers = new HashMap<>();
        List<byte[]> documents = new ArrayList<>();
        TreeMap<Long, String> journal = new TreeMap<>();
        for (int index = 0; index < 1000; index++) {
            Customer customer = new Customer(number * 1000L + index, random);
            customers.put(customer.email(), customer);
            journal.put(random.nextLong(), sentence(random, 10));
            if (index % 4 == 0) {
                documents.add(customer.toString().getBytes(StandardCharsets.UTF_8));
            }
        }
        double[] walk = new double[8000];
        double value = 100;
        for (int index = 0; index < walk.length; index++) {
            value += random.nextGaussian();
            walk[index] = value;
        }
        Map<String, Object> parts = new HashMap<>();
        parts.put("customers", customers);
        parts.put("documents", documents);
        parts.put("journal", journal);
        parts.put("walk", walk);
        return parts;
    }

    static long live() {
        System.gc();
        return Runtime.getRuntime().totalMemory() - Runtime.getRuntime().freeMemory();
    }

    public static void main(String[] arguments) throws IOException {
        long size = Long.parseLong(arguments[0]);
        Random random = new Random(Long.parseLong(arguments[1]));
        List<Map<String, Object>> heap = new ArrayList<>();
        while (live() < size) {
            for (int count = 0; count < 8; count++) {
                heap.add(batch(heap.size(), random));
            }
            // What lives long has holes: some parts of recent batches are dropped again.
            for (int count = 0; count < 2; count++) {
                Map<String, Object> old = heap.get(heap.size() - 1 - random.nextInt(Math.min(heap.size(), 16)));
                old.keySet().stream().findFirst().ifPresent(old::remove);
            }
        }
        System.out.println("ready " + ProcessHandle.current().pid());
        while (System.in.read() >= 0) {
        }
        if (heap.isEmpty()) {
            System.out.println("nothing was built");
        }
    }
}
